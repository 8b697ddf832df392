"""glTF 2.0 (Khronos): .glb, and .gltf with its buffers inside or beside it."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from shapeopt.data.formats.raw import Polygons, RawCloud, cloud_or_mesh
from shapeopt.errors import InputError

NUMBERS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3}
POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6
# Whatever else a file requires may change its shape.
HARMLESS = (
    "KHR_mesh_quantization",
    "KHR_materials_",
    "KHR_texture_",
    "KHR_lights_",
    "EXT_texture_",
)
MATRIX = Float[np.ndarray, "4 4"]


def read_gltf(path: Path) -> RawCloud:
    """All triangles of the scene, each in its place; or all points, if it has no triangles.

    Raises:
        InputError: cut short, packed by an extension, or not as the format has it.
    """
    try:
        tree, binary = _parts(path.read_bytes())
        scene = _Scene(tree, _buffers(tree, binary, path.parent))
        return scene.cloud_or_mesh()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read, damaged or cut short? ({error!r:.100})") from error


def _parts(data: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The description, and the buffer that comes with it in a .glb."""
    if not data.startswith(b"glTF"):
        return json.loads(data), None
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4")
    if words[1] != 2:
        raise InputError(f"is glTF {words[1]}; only 2 is known")
    if words[2] != len(data):
        raise InputError(f"damaged or cut short: {words[2]} bytes are promised, {len(data)} there")
    size = int(words[3])
    if words[4] != int.from_bytes(b"JSON", "little") or 20 + size > len(data):
        raise InputError("has no description; damaged or cut short?")
    rest = data[20 + size :]
    return json.loads(data[20 : 20 + size]), rest[8:] if rest[4:8] == b"BIN\0" else None


def _buffers(tree: dict[str, Any], binary: bytes | None, folder: Path) -> list[bytes]:
    buffers = []
    for buffer in tree.get("buffers", []):
        uri = buffer.get("uri")
        if uri is None:
            data = binary or b""
        elif uri.startswith("data:"):
            data = base64.b64decode(uri.partition(",")[2], validate=True)
        elif Path(uri).name != uri or not (folder / uri).is_file():
            raise InputError(f"its numbers are in {uri[:60]}, which is not in the same folder")
        else:
            data = (folder / uri).read_bytes()
        if len(data) < buffer["byteLength"]:
            raise InputError(
                f"cut short: {buffer['byteLength']} bytes are promised, {len(data)} there"
            )
        buffers.append(data)
    return buffers


class _Scene:
    """A description with its buffers.

    Attributes:
        triangles, points: pieces of a mesh (positions and corners) and of a cloud (positions and
            normals, if it has them), each in its place.
    """

    def __init__(self, tree: dict[str, Any], buffers: list[bytes]) -> None:
        self.tree, self.buffers = tree, buffers
        self.triangles: list[tuple[np.ndarray, np.ndarray]] = []
        self.points: list[tuple[np.ndarray, np.ndarray | None]] = []
        for name in tree.get("extensionsRequired", []):
            if not name.startswith(HARMLESS):
                raise InputError(f"needs the extension {name}, which is not known: export it plain")
        if tree.get("asset", {}).get("version", "")[:2] != "2.":
            raise InputError("its description does not say that it is glTF 2")
        self._seen: set[int] = set()
        for root in self._roots():
            self._visit(root, np.eye(4))

    def _roots(self) -> list[int]:
        nodes = self.tree.get("nodes", [])
        if "scenes" in self.tree:
            return self.tree["scenes"][_index(self.tree.get("scene", 0))].get("nodes", [])
        children = {child for node in nodes for child in node.get("children", [])}
        return [node for node in range(len(nodes)) if node not in children]

    def _visit(self, number: int, parent: MATRIX) -> None:
        if number in self._seen:
            raise InputError(f"node {number} has two parents; damaged?")
        self._seen.add(_index(number))
        node = self.tree["nodes"][number]
        matrix = parent @ _matrix(node)
        if "mesh" in node:
            for primitive in self.tree["meshes"][_index(node["mesh"])]["primitives"]:
                self._add(primitive, matrix)
        for child in node.get("children", []):
            self._visit(child, matrix)

    def _add(self, primitive: dict[str, Any], matrix: MATRIX) -> None:
        mode = primitive.get("mode", TRIANGLES)
        if mode not in (POINTS, TRIANGLES, STRIP, FAN):
            return  # lines
        positions = self._numbers(primitive["attributes"]["POSITION"], "VEC3").astype(np.float64)
        placed = positions @ matrix[:3, :3].T + matrix[:3, 3]
        if "indices" in primitive:
            corners = self._numbers(primitive["indices"], "SCALAR")[:, 0].astype(np.int64)
        else:
            corners = np.arange(len(positions))
        if len(corners) and not 0 <= corners.min() <= corners.max() < len(positions):
            raise InputError("an index names a vertex that is not there; damaged or cut short?")
        if mode == POINTS:
            self.points.append((placed[corners], self._point_normals(primitive, corners, matrix)))
            return
        triangles = _triangles(corners, mode)
        if np.linalg.det(matrix[:3, :3]) < 0:  # mirrored: the other way round
            triangles = triangles[:, ::-1]
        self.triangles.append((placed, triangles))

    def _point_normals(
        self, primitive: dict[str, Any], corners: Int[np.ndarray, " m"], matrix: MATRIX
    ) -> np.ndarray | None:
        if "NORMAL" not in primitive["attributes"] or np.linalg.det(matrix[:3, :3]) == 0:
            return None
        normals = self._numbers(primitive["attributes"]["NORMAL"], "VEC3")[corners]
        turned = normals @ np.linalg.inv(matrix[:3, :3])
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        return turned / np.where(length > 0, length, 1)

    def _numbers(self, accessor: int, kind: str) -> np.ndarray:
        """[n, width], of the type in the file, or floating-point if they are fractions."""
        entry = self.tree["accessors"][_index(accessor)]
        if entry["type"] != kind:
            raise InputError(f"has {entry['type']} where {kind} is wanted; damaged?")
        count, dtype = _index(entry["count"]), np.dtype(NUMBERS[entry["componentType"]])
        width = WIDTHS[kind]
        if "bufferView" in entry:
            start = _index(entry.get("byteOffset", 0))
            rows = self._rows(_index(entry["bufferView"]), start, count, dtype, width)
        elif "sparse" in entry and count <= sum(map(len, self.buffers)):
            rows = np.zeros((count, width), dtype)
        else:
            raise InputError("an array has no numbers; packed by an extension, or damaged?")
        if "sparse" in entry:
            rows = self._with_sparse(rows, entry["sparse"], dtype, width)
        if entry.get("normalized", False) and dtype.kind in "iu":
            rows = np.maximum(rows / np.iinfo(dtype).max, -1.0)
        return rows

    def _with_sparse(
        self, rows: np.ndarray, sparse: dict[str, Any], dtype: np.dtype, width: int
    ) -> np.ndarray:
        count, where, what = _index(sparse["count"]), sparse["indices"], sparse["values"]
        places = self._rows(
            *(_index(where["bufferView"]), _index(where.get("byteOffset", 0)), count),
            *(np.dtype(NUMBERS[where["componentType"]]), 1),
        )
        start = _index(what.get("byteOffset", 0))
        rows = rows.copy()
        rows[places[:, 0]] = self._rows(_index(what["bufferView"]), start, count, dtype, width)
        return rows

    def _rows(self, view: int, start: int, count: int, dtype: np.dtype, width: int) -> np.ndarray:
        """Rows of a part of a buffer, which may lie apart."""
        entry = self.tree["bufferViews"][view]
        row = dtype.itemsize * width
        stride = _index(entry.get("byteStride", row))
        first, length = _index(entry.get("byteOffset", 0)), _index(entry["byteLength"])
        data = self.buffers[_index(entry["buffer"])]
        needed = start + (count - 1) * stride + row if count else 0
        if stride < row or needed > length or first + length > len(data):
            raise InputError("an array reaches past the end of its buffer; damaged or cut short?")
        if count == 0:
            return np.zeros((0, width), dtype)
        flat = np.frombuffer(data, np.uint8, needed - start, first + start)
        rows = np.lib.stride_tricks.as_strided(flat, (count, row), (stride, 1), writeable=False)
        return np.ascontiguousarray(rows).view(dtype)

    def cloud_or_mesh(self) -> RawCloud:
        """The pieces as one."""
        if not self.triangles:
            normals = [n for _, n in self.points if n is not None]
            complete = len(normals) == len(self.points) > 0
            places = np.concatenate([np.zeros((0, 3)), *(p for p, _ in self.points)])
            return cloud_or_mesh(
                places, Polygons.of([]), np.concatenate(normals) if complete else None
            )
        starts = np.cumsum([0, *(len(vertices) for vertices, _ in self.triangles)])
        moved = [t + start for (_, t), start in zip(self.triangles, starts, strict=False)]
        vertices = np.concatenate([vertices for vertices, _ in self.triangles])
        return cloud_or_mesh(vertices, Polygons.of_triangles(np.concatenate(moved)))


def _index(value: Any) -> int:
    """A number of something, or a size: never negative, as Python would take it."""
    if type(value) is not int or value < 0:
        raise InputError(f"has {value!r:.40} where a count is wanted; damaged?")
    return value


def _matrix(node: dict[str, Any]) -> MATRIX:
    """From a node to its parent."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), np.float64)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", [1, 1, 1]), np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", [0, 0, 0]), np.float64).reshape(3)
    return matrix


def _triangles(corners: Int[np.ndarray, " m"], mode: int) -> Int[np.ndarray, "t 3"]:
    """Of a list, a strip (every other triangle runs the other way round) or a fan."""
    if mode == TRIANGLES:
        if len(corners) % 3:
            raise InputError(f"{len(corners)} corners make no triangles; damaged or cut short?")
        return corners.reshape(-1, 3)
    if len(corners) < 3:
        return np.zeros((0, 3), np.int64)
    a, b, c = corners[:-2], corners[1:-1], corners[2:]
    if mode == FAN:
        return np.stack([np.full(len(a), corners[0]), b, c], axis=1)
    triangles = np.stack([a, b, c], axis=1)
    triangles[1::2, :2] = triangles[1::2, 1::-1]
    # Strips are joined by triangles without extent.
    return triangles[(a != b) & (b != c) & (c != a)]
