"""Awkward files of every kind, and what is right for each.

A mesh is the cube [0, 1]^3, most often in quads. A cloud is twelve corners of an icosahedron, whose
normals are the points themselves.
"""

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TRIANGLES = [[a, b, c] for q in QUADS for a, b, c in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]
MIXED = [*QUADS[:3], *TRIANGLES[6:]]
GOLDEN = (1 + 5**0.5) / 2
BALL = np.array(
    [np.roll([0, s, t * GOLDEN], r) for s in (-1, 1) for t in (-1, 1) for r in range(3)]
) / np.hypot(1, GOLDEN)


@dataclass(frozen=True)
class Solid:
    """A mesh of so many triangles and such a volume, seen from the mean of its vertices."""

    triangles: int = 12
    volume: float = 1.0


@dataclass(frozen=True)
class Cloud:
    """So many points, each with its normal or without."""

    points: int = 12
    normals: bool = False


@dataclass(frozen=True)
class Refused:
    """An error that has these words, a regular expression."""

    words: str


@dataclass(frozen=True)
class Case:
    """A file, what is in it, and what is to come out.

    `needs` is a package that the reader asks for, `warns` what a warning says.
    """

    name: str
    suffix: str
    data: bytes
    expected: Solid | Cloud | Refused
    columns: str | None = None
    needs: str | None = None
    warns: str | None = None


def cases() -> list[Case]:
    """All of them, by format."""
    makers: list[Callable[[], Iterator[Case]]] = [
        *(obj_meshes, obj_clouds, ply_text, ply_binary, off_files, stl_files, glb_files),
        *(threemf_files, text_clouds, array_files, pcd_files, las_files),
    ]
    return [case for make in makers for case in make()]


def rows(array: np.ndarray, separator: str = " ", mark: str = "") -> str:
    """Lines of numbers, each after a mark."""
    return "".join(mark + separator.join(f"{x:.9g}" for x in row) + "\n" for row in array)


def obj_faces(polygons: list[list[int]], form: str = "{}") -> list[str]:
    return ["f " + " ".join(form.format(v + 1) for v in polygon) for polygon in polygons]


def obj_meshes() -> Iterator[Case]:
    head = rows(CORNERS, mark="v ")
    faces = obj_faces(QUADS)

    def case(name: str, text: str, expected: Solid | Cloud | Refused = Solid()) -> Case:
        return Case(name, "obj", text.encode(), expected)

    yield case("quads", head + "\n".join(faces) + "\n")
    interleaved = "".join(rows(CORNERS[quad], mark="v ") + "f -4 -3 -2 -1\n" for quad in QUADS)
    yield case("negative indices between interleaved vertices", interleaved)
    yield case("indented faces", head + "".join(f"  {face}\n" for face in faces))
    yield case("faces with tabs", head + "".join(face.replace(" ", "\t") + "\n" for face in faces))
    yield case(
        "v/vt/vn corners", head + "vt 0 0\nvn 0 0 1\n" + "\n".join(obj_faces(QUADS, "{}/1/1"))
    )
    yield case("v//vn corners", head + "vn 0 0 1\n" + "\n".join(obj_faces(QUADS, "{}//1")) + "\n")
    yield case("faces before vertices", "\n".join(faces) + "\n" + head)
    yield case("Windows line ends", (head + "\n".join(faces) + "\n").replace("\n", "\r\n"))
    yield case("old Macintosh line ends", (head + "\n".join(faces) + "\n").replace("\n", "\r"))
    yield case("byte order mark", "\ufeff" + head + "\n".join(faces) + "\n")
    yield case("a comment after a face", head + "".join(f"{face} # side\n" for face in faces))
    yield case(
        "a line that goes on", head + "\n".join(f.replace(" ", " \\\n", 1) for f in faces) + "\n"
    )
    yield case(
        "colours after the vertices",
        rows(np.hstack([CORNERS, CORNERS]), mark="v ") + "\n".join(faces) + "\n",
    )
    yield case("no end of the last line", head + "\n".join(faces))
    yield case(
        "groups, materials and smoothing",
        f"mtllib a.mtl\n{head}g a\nusemtl b\ns 1\n" + "\n".join(faces) + "\n",
    )
    ell = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], dtype=float)
    corners = np.array([[*p, z] for z in (0, 1) for p in ell])
    ends = [[5, 4, 3, 2, 1, 0], [6, 7, 8, 9, 10, 11]]
    walls = [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]
    # Begun at a corner from which a fan would leave the polygon.
    ends = [ends[0][1:] + ends[0][:1], ends[1][1:] + ends[1][:1]]
    yield case(
        "polygons that are not convex",
        rows(corners, mark="v ") + "\n".join(obj_faces(ends + walls)) + "\n",
        Solid(20, 3.0),
    )
    lost = "\n".join(faces[:4])
    yield case("cut in the faces, a line of two corners", head + lost[:-4], Refused("line 12"))
    once = head + "\n".join(faces[:1])
    yield case("cut in the faces, vertices left without any", once, Refused("cut short"))
    yield Case(
        "cut in the faces, nothing left over but an open mesh",
        *("obj", (head + lost[:-2]).encode(), Solid(7, 0.5833)),
        warns="the mesh is open",
    )
    yield Case(
        "vertices without a face", "obj", (once + "\n").encode(), Solid(2, 0.1667), warns="4 of 8"
    )
    yield case(
        "fewer faces than its comment says",
        f"# 8 vertices\n# 6 faces\n{head}{lost}\n",
        Refused("promises 6 faces"),
    )
    yield case(
        "fewer vertices than its comment says",
        f"# Vertices: 9\n{head}{lost}\n",
        Refused("promises 9 vertices"),
    )
    yield case("index past the end", head + "f 1 2 9\n", Refused("not there"))
    yield case("index 0", head + "f 0 1 2\n", Refused("no vertex 0"))
    yield case("index too far back", head + "f -9 1 2\n", Refused("no vertex -9"))
    yield case("a face of two corners", head + "f 1 2\n", Refused("line 9"))
    yield case(
        "a number that is none", head.replace("0 0 1", "0 O 1") + "f 1 2 3\n", Refused("line 2")
    )
    yield case(
        "a free-form surface",
        head + "cstype bspline\nsurf 0 1 0 1 1 2 3 4\nend\n",
        Refused("free-form"),
    )


def obj_clouds() -> Iterator[Case]:
    points, normals = rows(BALL, mark="v "), rows(BALL, mark="vn ")
    yield Case("cloud", "obj", points.encode(), Cloud())
    yield Case("cloud with normals", "obj", (points + normals).encode(), Cloud(normals=True))
    both = "".join(rows(p[None], mark="vn ") + rows(p[None], mark="v ") for p in BALL)
    yield Case("cloud with normals between", "obj", both.encode(), Cloud(normals=True))
    short = points + rows(BALL[:7], mark="vn ")
    yield Case("cloud with normals missing", "obj", short.encode(), Refused("7 normals for 12"))


def ply_header(
    kind: str, vertices: int, columns: str, faces: int, face: str = "list uchar int vertex_indices"
) -> str:
    names = "".join(
        f"property {'float' if '/' not in c else c.split('/')[0]} {c.split('/')[-1]}\n"
        for c in columns.split()
    )
    listed = (
        f"element face {faces}\n" + "".join(f"property {p}\n" for p in face.split(";"))
        if faces
        else ""
    )
    return f"ply\nformat {kind} 1.0\nelement vertex {vertices}\n{names}{listed}end_header\n"


def face_rows(polygons: list[list[int]]) -> str:
    return "".join(f"{len(p)} {' '.join(map(str, p))}\n" for p in polygons)


def ply_text() -> Iterator[Case]:
    head = ply_header("ascii", 8, "x y z", 6) + rows(CORNERS)

    def case(name: str, text: str, expected: Solid | Cloud | Refused = Solid()) -> Case:
        return Case("text: " + name, "ply", text.encode(), expected)

    yield case("quads", head + face_rows(QUADS))
    yield case(
        "triangles and quads", ply_header("ascii", 8, "x y z", 9) + rows(CORNERS) + face_rows(MIXED)
    )
    yield case("Windows line ends", (head + face_rows(QUADS)).replace("\n", "\r\n"))
    yield case("vertex_index", (head + face_rows(QUADS)).replace("vertex_indices", "vertex_index"))
    yield case(
        "columns in another order",
        ply_header("ascii", 8, "z red y x", 6)
        + rows(np.insert(CORNERS[:, ::-1], 1, 255, axis=1))
        + face_rows(QUADS),
    )
    coloured = "".join(f"{row} 255 0 9\n" for row in face_rows(QUADS).splitlines())
    colour = "list uchar int vertex_indices;uchar red;uchar green;uchar blue"
    yield case(
        "colours after the faces",
        ply_header("ascii", 8, "x y z", 6, colour) + rows(CORNERS) + coloured,
    )
    strips = head.replace("element face 6", "element tristrips 1")
    yield case(
        "triangle strips",
        strips + "19 0 1 2 3 6 7 4 5 0 1 -1 0 2 4 6 -1 1 5 3 7\n".replace("19", "20"),
        Solid(12),
    )
    first = head.split("element")
    yield case(
        "faces before vertices",
        f"{first[0]}element{first[2].split('end_header')[0]}element{first[1]}end_header\n"
        + face_rows(QUADS)
        + rows(CORNERS),
    )
    for names in ("nx ny nz", "normal_x normal_y normal_z", "NX NY NZ"):
        yield case(
            f"cloud with {names}",
            ply_header("ascii", 12, f"x y z {names}", 0) + rows(np.hstack([BALL, BALL])),
            Cloud(normals=True),
        )
    yield case("index -1", head + face_rows([*QUADS[:5], [1, 5, 7, -1]]), Refused("vertex -1"))
    yield case(
        "index past the end", head + face_rows([*QUADS[:5], [1, 5, 7, 8]]), Refused("vertex 8")
    )
    yield case("faces missing", head + face_rows(QUADS[:4]), Refused("promises 6 face rows, 4"))
    yield case("rows left over", head + face_rows([*QUADS, *QUADS]), Refused("lines are left"))
    yield case(
        "a face row too short",
        head + face_rows(QUADS).replace("4 6 7 5", "4 6 7"),
        Refused("row 1"),
    )
    yield case(
        "a vertex row too short",
        head.replace("\n1 1 1\n", "\n1 1\n") + face_rows(QUADS),
        Refused("cut short"),
    )
    yield case("a face of one corner", head + face_rows([*QUADS[:5], [1]]), Refused("1 corners"))
    yield case("no end_header", head.split("end_header")[0], Refused("end_header"))


def ply_binary() -> Iterator[Case]:
    def body(
        order: str,
        polygons: list[list[int]],
        count: str = "B",
        index: str = "i",
        number: str = "f4",
    ) -> bytes:
        lists = [struct.pack(f"{order}{count}{len(p)}{index}", len(p), *p) for p in polygons]
        return CORNERS.astype(order + number).tobytes() + b"".join(lists)

    def case(name: str, data: bytes, expected: Solid | Cloud | Refused = Solid()) -> Case:
        return Case("binary: " + name, "ply", data, expected)

    little, big = "binary_little_endian", "binary_big_endian"
    head = ply_header(little, 8, "x y z", 6).encode()
    mixed = ply_header(little, 8, "x y z", 9).encode()
    yield case("quads", head + body("<", QUADS))
    yield case("triangles and quads", mixed + body("<", MIXED))
    yield case(
        "triangles and quads, big-endian",
        ply_header(big, 8, "x y z", 9).encode() + body(">", MIXED),
    )
    wide = ply_header(little, 8, "double/x double/y double/z", 9, "list int uint vertex_index")
    yield case("double, counts of four bytes", wide.encode() + body("<", MIXED, "i", "I", "f8"))
    small = ply_header(little, 8, "x y z", 6, "list uchar uchar vertex_indices")
    yield case("indices of one byte", small.encode() + body("<", QUADS, "B", "B"))
    yield case("Windows line ends in the header", head.replace(b"\n", b"\r\n") + body("<", QUADS))
    flags = ply_header(
        little, 8, "x y z", 6, "uchar flag;list uchar int vertex_indices;list uchar float texcoord"
    )
    lists = b"".join(struct.pack("<BB4iB2f", 7, 4, *q, 2, 0, 0) for q in QUADS)
    yield case("other columns and lists", flags.encode() + CORNERS.astype("<f4").tobytes() + lists)
    cloud = ply_header(little, 12, "x y z normal_x normal_y normal_z uchar/red", 0).encode()
    points = b"".join(struct.pack("<6fB", *p, *p, 255) for p in BALL)
    yield case("cloud with normal_x and a colour", cloud + points, Cloud(normals=True))
    yield case("index -1", head + body("<", [*QUADS[:5], [1, 5, 7, -1]]), Refused("vertex -1"))
    yield case(
        "index past the end", mixed + body("<", [*MIXED[:8], [1, 5, 8]]), Refused("vertex 8")
    )
    yield case(
        "cut in the faces", mixed + body("<", MIXED)[:-5], Refused("promises 9 face rows, 8")
    )
    yield case("cut in the vertices", cloud + points[:-30], Refused("promises 12 vertex rows, 10"))
    huge = head.replace(b"element vertex 8", b"element vertex 80000000000000")
    yield case(
        "a promise of 80,000,000,000,000 vertices", huge + body("<", QUADS), Refused("cut short")
    )
    yield case("bytes left over", head + body("<", QUADS) + b"more", Refused("4 bytes are left"))


def off_files() -> Iterator[Case]:
    body, faces = rows(CORNERS), face_rows(QUADS)

    def case(name: str, text: str, expected: Solid | Cloud | Refused = Solid()) -> Case:
        return Case(name, "off", text.encode(), expected)

    yield case("quads", f"OFF\n8 6 12\n{body}{faces}")
    yield case("triangles and quads", f"OFF\n8 9 0\n{body}{face_rows(MIXED)}")
    yield case("numbers in the first line", f"OFF 8 6 0\n{body}{faces}")
    yield case("no keyword", f"8 6 0\n{body}{faces}")
    yield case(
        "comments and empty lines", f"OFF # cube\n\n# numbers\n8 6 0\n\n{body}# faces\n{faces}"
    )
    colours = "".join(f"{row} 255 0 0\n" for row in faces.splitlines())
    yield case("colours of faces", f"OFF\n8 6 0\n{body}{colours}")
    four = rows(np.hstack([CORNERS, CORNERS, CORNERS[:, :1]]))
    yield case("COFF, colours of vertices", f"COFF\n8 6 0\n{four}{faces}")
    both = rows(np.hstack([BALL, BALL]))
    yield case("NOFF, a cloud with normals", f"NOFF\n12 0 0\n{both}", Cloud(normals=True))
    yield case(
        "cut in the faces", f"OFF\n8 6 0\n{body}{face_rows(QUADS[:4])}", Refused("6 faces, and 12")
    )
    yield case(
        "index past the end",
        f"OFF\n8 6 0\n{body}{face_rows([*QUADS[:5], [1, 5, 8]])}",
        Refused("vertex 8"),
    )
    yield case(
        "index -1", f"OFF\n8 6 0\n{body}{face_rows([*QUADS[:5], [1, 5, -1]])}", Refused("vertex -1")
    )
    yield case("binary", "OFF BINARY\n" + body, Refused("not OFF in text"))
    yield case("in 4D", f"4OFF\n8 6 0\n{body}", Refused("not OFF in text"))


def stl_text(name: str = "cube") -> str:
    facets = []
    for triangle in TRIANGLES:
        corners = rows(CORNERS[triangle], mark="vertex ")
        facets.append(f"facet normal 0 0 0\nouter loop\n{corners}endloop\nendfacet\n")
    return f"solid {name}\n{''.join(facets)}endsolid {name}\n"


def stl_binary(header: bytes = b"made for a test", count: int = 12) -> bytes:
    facets = [np.zeros(3), *CORNERS[TRIANGLES].reshape(-1, 9)]
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *f, 0) for f in facets[1:])
    return header.ljust(80, b"\0") + struct.pack("<I", count) + body


def stl_files() -> Iterator[Case]:
    def case(name: str, data: bytes | str, expected: Solid | Cloud | Refused = Solid()) -> Case:
        return Case(name, "stl", data.encode() if isinstance(data, str) else data, expected)

    text = stl_text()
    yield case("binary", stl_binary())
    yield case("binary that begins with solid", stl_binary(b"solid facet"))
    yield case("text", text)
    yield case("text, indented and in capitals", text.upper().replace("VERTEX", "    VERTEX"))
    yield case("text of two solids", text.replace("endfacet\n", "endfacet\nendsolid\nsolid b\n", 1))
    yield case("text without a name", stl_text(""))
    yield case("Windows line ends", text.replace("\n", "\r\n"))
    yield case("binary, cut", stl_binary()[:-70], Refused("promises 12 triangles, 10.6"))
    yield case("binary, other number", stl_binary(count=2**32 - 1), Refused("promises 4294967295"))
    yield case("text, cut between facets", text[: text.index("endfacet") + 9], Refused("no end"))
    yield case("text, cut in a vertex", text[: text.index("vertex") + 9], Refused("line 4"))
    without = re.sub("vertex 0 0 0\nvertex 0 0 1\nvertex 0 1 1\n", "", text)
    yield case("text, a facet without corners", without, Refused("is not `vertex`"))
    yield case(
        "text, a facet of two corners",
        text.replace("vertex 0 0 0\n", "", 1),
        Refused("is not `vertex`"),
    )


Tree = dict[str, Any]


def glb(
    nodes: list[Tree],
    mode: int = 4,
    indices: np.ndarray | None = None,
    points: np.ndarray = CORNERS,
    change: Callable[[Tree], None] = lambda tree: None,
    normals: bool = False,
) -> bytes:
    """One mesh at each node; `change` is done to its description."""
    arrays = [points if points.dtype == np.int16 else points.astype("<f4")]
    primitive: Tree = {"attributes": {"POSITION": 0}, "mode": mode}
    if normals:
        primitive["attributes"]["NORMAL"] = len(arrays)
        arrays.append(points.astype("<f4"))
    if indices is not None:
        primitive["indices"] = len(arrays)
        arrays.append(indices.reshape(-1, 1))
    kinds = {"uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
    padded = [a.tobytes() + b"\0" * (-a.nbytes % 4) for a in arrays]
    starts = np.cumsum([0, *map(len, padded)]).tolist()
    tree: Tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": [{"mesh": 0, **node} for node in nodes],
        "meshes": [{"primitives": [primitive]}],
        "accessors": [
            {
                "bufferView": i,
                "componentType": kinds[str(a.dtype)],
                "count": len(a),
                "type": "SCALAR" if a.shape[1] == 1 else "VEC3",
            }
            for i, a in enumerate(arrays)
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(a)}
            for start, a in zip(starts, padded, strict=False)
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    change(tree)
    binary = b"".join(padded)
    binary += tree.pop("more", b"")
    tree["buffers"][0]["byteLength"] = len(binary)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(binary), len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def sparse(tree: Tree) -> None:
    """The last corner is drawn in to the middle of the cube."""
    start = tree["buffers"][0]["byteLength"]
    tree["more"] = struct.pack("<H2x3f", 7, 0.5, 0.5, 0.5)
    tree["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": 2},
        {"buffer": 0, "byteOffset": start + 4, "byteLength": 12},
    ]
    tree["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": 2, "componentType": 5123},
        "values": {"bufferView": 3},
    }


def glb_files() -> Iterator[Case]:
    def case(name: str, data: bytes, expected: Solid | Cloud | Refused = Solid()) -> Case:
        return Case(name, "glb", data, expected)

    triangles = np.array(TRIANGLES)
    short = triangles.astype("uint16")
    yield case("triangles", glb([{}], indices=short))
    yield case("indices of one byte", glb([{}], indices=triangles.astype("uint8")))
    yield case("no indices", glb([{}], points=CORNERS[triangles].reshape(-1, 3)))
    moved = {"translation": [5, 0, 0]}
    yield case("two nodes of one mesh", glb([{}, moved], indices=short), Solid(24, 2.0))
    turned = {"scale": [2, 1, 1], "rotation": [0, 0, 0.5**0.5, 0.5**0.5]}
    yield case("scaled and turned", glb([turned], indices=short), Solid(12, 2.0))
    yield case("mirrored", glb([{"scale": [-1, 1, 1]}], indices=short))
    yield case("5,000 km away", glb([{"translation": [5e5, 5e6, 100]}], indices=short))

    def chained(tree: Tree) -> None:
        tree["scenes"][0]["nodes"] = [1]
        tree["nodes"] = [{"mesh": 0, "scale": [2, 2, 2]}, {"children": [0], "scale": [3, 1, 1]}]

    yield case("a node in a node", glb([{}], indices=short, change=chained), Solid(12, 24.0))
    strip = np.array([2, 3, 6, 7, 5, 3, 1, 2, 0, 6, 4, 5, 0, 1], dtype="uint16")
    yield case("a triangle strip", glb([{}], mode=5, indices=strip))
    pyramid = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    yield case("a triangle fan", glb([{}], mode=6, points=pyramid.astype(float)), Solid(4, 0.2778))
    yield case("a sparse array", glb([{}], indices=short, change=sparse), Solid(12, 0.5))

    def quantised(tree: Tree) -> None:
        tree["accessors"][0]["normalized"] = True
        tree["extensionsRequired"] = ["KHR_mesh_quantization"]

    whole = (CORNERS * 32767).astype(np.int16)
    yield case("quantised", glb([{}], indices=short, points=whole, change=quantised))

    def draco(tree: Tree) -> None:
        tree["extensionsRequired"] = ["KHR_draco_mesh_compression"]

    yield case("packed by Draco", glb([{}], indices=short, change=draco), Refused("draco"))
    yield case("a cloud", glb([{}], mode=0, points=BALL), Cloud())
    with_normals = glb([{}], mode=0, points=BALL, normals=True)
    yield case("a cloud with normals", with_normals, Cloud(normals=True))
    past = np.where(short == 7, 8, short).astype("uint16")
    yield case("index past the end", glb([{}], indices=past), Refused("not there"))

    def circular(tree: Tree) -> None:
        tree["nodes"][0]["children"] = [0]

    yield case("a node in itself", glb([{}], indices=short, change=circular), Refused("parents"))

    def promising(tree: Tree) -> None:
        tree["accessors"][0]["count"] = 10**12

    huge = glb([{}], indices=short, change=promising)
    yield case("a promise of 10^12 vertices", huge, Refused("past the end"))
    whole_file = glb([{}], indices=short)
    yield case("cut", whole_file[:-20], Refused("cut short"))
    yield case("cut in the description", whole_file[:200], Refused("cut short"))
    yield case("version 1", b"glTF\1\0\0\0" + whole_file[8:], Refused("glTF 1"))


def threemf_files() -> Iterator[Case]:
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in CORNERS)

    def case(
        name: str,
        triangles: list[list[int]],
        items: str,
        expected: Solid | Refused = Solid(),
        cut: int = 0,
    ) -> Case:
        listed = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in triangles)
        model = (
            '<?xml version="1.0" encoding="UTF-8"?><model unit="millimeter" xml:lang="en-US" '
            'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources>'
            f'<object id="1" type="model"><mesh><vertices>{vertices}</vertices><triangles>{listed}'
            f"</triangles></mesh></object></resources><build>{items}</build></model>"
        )
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("3D/3dmodel.model", model)
        data = buffer.getvalue()
        return Case(name, "3mf", data[: len(data) - cut], expected, needs="lxml")

    yield case("one object", TRIANGLES, '<item objectid="1"/>')
    twice = '<item objectid="1"/><item objectid="1" transform="2 0 0 0 1 0 0 0 1 5 0 0"/>'
    yield case("two places of an object", TRIANGLES, twice, Solid(24, 3.0))
    yield case(
        "index past the end",
        [*TRIANGLES[:-1], [1, 7, 8]],
        '<item objectid="1"/>',
        Refused("not there|cannot be read"),
    )
    yield case("cut", TRIANGLES, '<item objectid="1"/>', Refused("cut short"), cut=30)


def text_clouds() -> Iterator[Case]:
    both = np.hstack([BALL, BALL])
    colours = np.hstack([BALL, np.arange(36).reshape(12, 3) * 7])
    reals = np.hstack([BALL, np.linspace(0, 0.9, 36).reshape(12, 3)])
    intensity = np.hstack([BALL, np.linspace(0, 5, 12)[:, None]])

    def case(
        name: str,
        text: str,
        expected: Cloud | Refused = Cloud(),
        suffix: str = "xyz",
        columns: str | None = None,
    ) -> Case:
        return Case(name, suffix, text.encode(), expected, columns)

    with_normals = Cloud(normals=True)
    yield case("three columns", rows(BALL))
    yield case("six columns, normals", rows(both), with_normals)
    yield case("six columns, colours 0 to 255", rows(colours))
    yield case("six columns, colours 0 to 1, told", rows(reals), columns="xyzrgb")
    yield case("six columns, neither", rows(reals), Refused("data.columns"))
    yield case("six columns, told to be points alone", rows(both), columns="xyz---")
    yield case("four columns", rows(intensity), Refused("data.columns"))
    yield case("four columns, told", rows(intensity), columns="xyz-")
    yield case(
        "four columns, the first counts",
        rows(np.hstack([np.arange(12)[:, None], BALL])),
        Refused("data.columns"),
    )
    yield case(
        "seven columns, .pts", "12\n" + rows(np.hstack([intensity, colours[:, 3:]])), suffix="pts"
    )
    yield case("nine columns", rows(np.hstack([colours, BALL])), with_normals)
    yield case("nine columns the other way", rows(np.hstack([both, colours[:, 3:]])), with_normals)
    yield case("commas", rows(BALL, ","), suffix="csv")
    yield case("commas and blanks", rows(BALL, ", "))
    yield case("semicolons", rows(BALL, ";"))
    yield case("semicolons, decimal commas", rows(BALL, ";").replace(".", ","))
    yield case("blanks, decimal commas", rows(BALL + 0.1).replace(".", ","))
    yield case("tabs", rows(BALL, "\t"))
    yield case("a separator at the end of lines", rows(BALL, ",").replace("\n", ",\n"))
    yield case("headings", "x,y,z,nx,ny,nz\n" + rows(both, ","), with_normals, "csv")
    yield case(
        "headings in quotes, other order",
        '"id","Y","X","Z"\n' + rows(np.hstack([np.arange(12)[:, None], BALL]), ","),
        suffix="csv",
    )
    yield case("headings in a comment", "//X Y Z R G B\n" + rows(reals), suffix="asc")
    yield case("comments", "# a cloud\n" + rows(BALL) + "// the end\n")
    yield case("number of rows first", "12\n" + rows(BALL))
    yield case("other number of rows first", "13\n" + rows(BALL), Refused("13 rows, 12"))
    yield Case("UTF-16", "txt", rows(BALL).encode("utf-16"), Cloud())
    yield Case("byte order mark", "txt", rows(BALL).encode("utf-8-sig"), Cloud())
    yield case("chemistry", "12\nwater\n" + rows(BALL, mark="H "), Refused("not numbers"))
    yield case("a row too short", rows(BALL) + "1 2\n", Refused("cut short"))
    yield case(
        "an empty field", rows(BALL, ",").replace("\n", "\n1,,2\n", 1), Refused("not numbers")
    )
    yield case("nan", rows(BALL) + "nan 0 0\n", Refused("1 of 13 points are NaN"))
    yield case("two columns", rows(BALL[:, :2]), Refused("at least three"))
    yield case(
        "columns told wrongly",
        rows(both),
        Refused("4 letters, for 6"),
        columns="xyz-",
    )


def array_files() -> Iterator[Case]:
    def saved(save: Callable, *args: np.ndarray, **arrays: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        save(buffer, *args, **arrays)
        return buffer.getvalue()

    both = np.hstack([BALL, BALL])
    plain = saved(np.save, BALL)
    packed = saved(np.savez_compressed, points=BALL, normals=BALL)
    yield Case("three columns", "npy", plain, Cloud())
    yield Case("six columns, normals", "npy", saved(np.save, both), Cloud(normals=True))
    yield Case(
        "whole numbers", "npy", saved(np.save, np.round(BALL * 100).astype(np.int16)), Cloud()
    )
    yield Case("half precision, big-endian", "npy", saved(np.save, BALL.astype(">f2")), Cloud())
    yield Case(
        "stored by columns", "npy", saved(np.save, np.asfortranarray(both)), Cloud(normals=True)
    )
    yield Case(".npz named .npy", "npy", packed, Cloud(normals=True))
    yield Case(".npy named .npz", "npz", plain, Cloud())
    yield Case("points and normals", "npz", packed, Cloud(normals=True))
    yield Case("no points", "npz", saved(np.savez, xyz=BALL), Refused("no array `points`"))
    yield Case(
        "Python objects",
        "npy",
        saved(np.save, np.array([[print, 1, 2]] * 4, dtype=object)),
        Refused("real numbers"),
    )
    yield Case("complex numbers", "npy", saved(np.save, BALL + 1j), Refused("real numbers"))
    yield Case("a stack of clouds", "npy", saved(np.save, BALL[None]), Refused("at least three"))
    yield Case("cut", "npy", plain[:-8], Refused("cut short"))
    yield Case("cut", "npz", packed[:-8], Refused("cut short"))
    yield Case(
        "a promise of 10^15 rows",
        "npy",
        plain.replace(b"(12, 3), } ", b"(10**15,3),}")[:200],
        Refused("cannot be read|cut short"),
    )


def lzf(data: bytes) -> bytes:
    """Packed without finding anything that repeats, but for one repetition of eight zeros."""
    out = bytearray()
    for start in range(0, len(data), 32):
        piece = data[start : start + 32]
        out += bytes([len(piece) - 1]) + piece
    return bytes(out)


def pcd_files() -> Iterator[Case]:
    def header(
        kind: str,
        points: int = 12,
        fields: str = "x y z",
        types: str = "F F F",
        sizes: str = "4 4 4",
        counts: str | None = None,
    ) -> bytes:
        number = counts or " ".join("1" for _ in fields.split())
        return (
            f"# .PCD v0.7\nVERSION 0.7\nFIELDS {fields}\nSIZE {sizes}\nTYPE {types}\n"
            f"COUNT {number}\n"
            f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {kind}\n"
        ).encode()

    binary = BALL.astype("<f4").tobytes()
    full = {
        "fields": "x y z normal_x normal_y normal_z rgb",
        "types": "F F F F F F U",
        "sizes": "4 4 4 4 4 4 4",
    }
    rgb = b"".join(struct.pack("<6fI", *p, *p, 255) for p in BALL)
    columns = np.hstack([BALL, BALL]).astype("<f4").T.tobytes() + b"\0" * 48
    packed = lzf(columns[:-48]) + bytes([0, 0, 0xE0, 38, 0])  # a zero, and 47 more by repetition
    yield Case("text", "pcd", header("ascii") + rows(BALL).encode(), Cloud())
    yield Case("binary", "pcd", header("binary") + binary, Cloud())
    yield Case(
        "binary with normals and colours",
        "pcd",
        header("binary", **full) + rgb,
        Cloud(normals=True),
    )
    sizes = struct.pack("<II", len(packed), len(columns))
    yield Case(
        "packed, with normals",
        "pcd",
        header("binary_compressed", **full) + sizes + packed,
        Cloud(normals=True),
    )
    gaps = "nan nan nan\n" * 3
    yield Case(
        "points that are NaN", "pcd", header("ascii", 15) + (gaps + rows(BALL)).encode(), Cloud()
    )
    padded = b"".join(struct.pack("<3f4x", *p) for p in BALL)
    yield Case(
        "padding",
        "pcd",
        header("binary", 12, "x y z _", "F F F U", "4 4 4 1", "1 1 1 4") + padded,
        Cloud(),
    )
    yield Case(
        "binary, cut", "pcd", header("binary") + binary[:-20], Refused("promises 12 points, 10")
    )
    yield Case(
        "text, cut",
        "pcd",
        header("ascii") + rows(BALL[:9]).encode(),
        Refused("promises 12 points, 9"),
    )
    yield Case(
        "packed, damaged",
        "pcd",
        header("binary_compressed", **full) + sizes + packed[:50] + b"\xff" * (len(packed) - 50),
        Refused("damaged"),
    )


def las(points: np.ndarray, count: int | None = None) -> bytes:
    """Version 1.2, point format 0, in units of 1e-6."""
    scaled = np.round(points * 1e6).astype(int)
    low, high = points.min(axis=0), points.max(axis=0)
    head = struct.pack(
        "<4sHHIHH8sBB32s32sHHHIIBHI5I3d3d6d",
        *(b"LASF", 0, 0, 0, 0, 0, b"", 1, 2, b"", b"made for a test", 1, 2026, 227, 227, 0, 0, 20),
        *(len(points) if count is None else count, 0, 0, 0, 0, 0, 1e-6, 1e-6, 1e-6, 0.0, 0.0, 0.0),
        *(high[0], low[0], high[1], low[1], high[2], low[2]),
    )
    return head + b"".join(struct.pack("<3iHBBbBH", *p.tolist(), 0, 0, 0, 0, 0, 0) for p in scaled)


def las_files() -> Iterator[Case]:
    yield Case("points", "las", las(BALL), Cloud(), needs="laspy")
    yield Case("other number of points", "las", las(BALL, 15), Refused("cut short"), needs="laspy")
    yield Case("cut in the header", "las", las(BALL)[:100], Refused("cut short"), needs="laspy")
