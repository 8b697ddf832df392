"""Which way planes at points face, so that they all face out of a solid.

A surface's winding number jumps by one at it and is as good as constant on both sides. Each plane
adds a dipole to that field, and two planes face right to each other if each one's dipole points
along the field of the other:

    n_i . grad w_j  ~  (n_i . n_j - 3 (n_i . r)(n_j . r) / r^2) / r^3

Side by side on a smooth surface that is positive for the same direction, and through a thin
sheet for opposite ones. So the planes of a solid hold together by couplings without knowing
outside and inside, and the strongest are decided first, for ever larger pieces.

Sources: Barill et al., Fast Winding Numbers for Soups and Clouds, 2018 (the field); Metzer et
al., Orienting Point Clouds with Dipole Propagation, 2021; Keuper et al., Efficient Decomposition
of Image and Mesh Graphs by Lifted Multicuts, 2015 (greedy additive contraction).
"""

import numpy as np
from jaxtyping import Float, Int

DECIDED_TOGETHER = 2000
"""Points whose couplings are all taken; the others follow those near them."""
SOFTENING = 0.4
"""Of the dipoles, in spacings: planes at one place are not coupled beyond all bounds."""
SEPARATE = 0.02
"""A coupling of two pieces that is less than this part of all within the smaller one is noise: the
field of a closed piece ends at its own surface."""
CLOSED = 0.1
"""Mean normal of a piece, by area, up to which it counts as closed."""


def outward_signs(
    points: Float[np.ndarray, "n 3"], axes: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    """1 or -1 for each plane, which turns its axis out of the solid.

    A piece of its own inside another one is a cavity: it faces into itself.

    Args:
        points: any units, no two at one place.
        axes: unit normals of the planes, either way.
    """
    from scipy.spatial import cKDTree

    areas = point_areas(points)
    chosen = _thinned(points)
    tree = cKDTree(points[chosen])
    _, owner = tree.query(points)
    centres, directions = points[chosen], axes[chosen]
    weights = np.bincount(owner, areas, minlength=len(chosen))
    spacing = float(np.sqrt(np.median(weights)))
    near = SOFTENING * spacing
    coupling = _couplings(centres, directions, centres, directions, near)
    signs, pieces = _contracted(coupling * weights * weights[:, None])
    dipoles = directions * (signs * weights)[:, None]
    pieces = _apart(pieces, _components(points)[chosen], centres, dipoles)
    for piece, inward in zip(pieces, _face_inward(centres, dipoles, pieces, spacing), strict=True):
        signs[piece] *= -1 if inward else 1
    dipoles = directions * (signs * weights)[:, None]
    _, closest = tree.query(points, k=min(12, len(chosen)))
    closest = closest.reshape(len(points), -1)
    field = np.zeros(len(points))
    for j in closest.T:
        field += _coupling(points, axes, centres[j], dipoles[j], near)
    return np.where(field >= 0, 1.0, -1.0)


def point_areas(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """The part of the surface that each point stands for: a sixth of the disc of six neighbours."""
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(points).query(points, k=min(7, len(points)))
    return np.pi / 6 * distances[:, -1] ** 2


def outwardness(points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]) -> float:
    """Mean of the cosine between normals and directions from the middle, by area: 1 for a ball.

    Its sign is that of the volume that the surface encloses. Near 0 for an open surface.
    """
    _, first = np.unique(points, axis=0, return_index=True)
    points, normals = points[first], normals[first]
    areas = point_areas(points)
    if not areas.sum() > 0:
        return 0.0
    arms = points - (areas[:, None] * points).sum(axis=0) / areas.sum()
    reach = (areas * np.linalg.norm(arms, axis=1)).sum()
    return float((areas * (arms * normals).sum(axis=1)).sum() / reach)


def _thinned(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " c"]:
    """About as many points as are decided together, one in each cell of a grid."""
    if len(points) <= DECIDED_TOGETHER:
        return np.arange(len(points))
    low = points.min(axis=0)
    shortest, longest = 0.0, float(np.ptp(points, axis=0).max())
    first = np.arange(1)
    for _ in range(16):
        side = (shortest + longest) / 2
        _, found = np.unique(((points - low) / side).astype(np.int64), axis=0, return_index=True)
        if len(found) > DECIDED_TOGETHER:
            shortest = side
        else:
            longest, first = side, found
    return first


def _coupling(
    at: Float[np.ndarray, "*n 3"],
    normals: Float[np.ndarray, "*n 3"],
    sources: Float[np.ndarray, "*n 3"],
    dipoles: Float[np.ndarray, "*n 3"],
    near: float,
) -> Float[np.ndarray, "*n"]:
    """How much each normal points along the field of a dipole (see above), pair by pair."""
    offset = sources - at
    squared = (offset**2).sum(axis=-1) + near**2
    along = (offset * normals).sum(axis=-1) * (offset * dipoles).sum(axis=-1)
    return ((normals * dipoles).sum(axis=-1) - 3 * along / squared) / squared**1.5


def _couplings(
    at: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    sources: Float[np.ndarray, "m 3"],
    dipoles: Float[np.ndarray, "m 3"],
    near: float,
) -> Float[np.ndarray, "n m"]:
    """All pairs."""
    return np.stack(
        [
            _coupling(
                np.broadcast_to(p, sources.shape),
                np.broadcast_to(n, sources.shape),
                sources,
                dipoles,
                near,
            )
            for p, n in zip(at, normals, strict=True)
        ]
    )


def _contracted(
    coupling: Float[np.ndarray, "n n"],
) -> tuple[Float[np.ndarray, " n"], list[list[int]]]:
    """Signs for which couplings are positive, the strongest first, and the pieces that they hold.

    Two pieces become one, turned to each other as their coupling says, and their couplings to all
    others add up.
    """
    coupling = coupling.copy()
    np.fill_diagonal(coupling, 0)
    count = len(coupling)
    strength = np.abs(coupling)
    within = strength.sum(axis=1)
    signs = np.ones(count)
    members = [[i] for i in range(count)]
    partner = strength.argmax(axis=1)
    best = strength[np.arange(count), partner]

    def look_again(rows: Int[np.ndarray, " k"]) -> None:
        partner[rows] = strength[rows].argmax(axis=1)
        best[rows] = strength[rows, partner[rows]]

    while True:
        i = int(best.argmax())
        j = int(partner[i])
        if not best[i] > 0:
            return signs, [piece for piece in members if piece]
        if best[i] <= SEPARATE * min(within[i], within[j]):
            # Not these two, unless one of them has become another piece.
            strength[i, j] = strength[j, i] = 0
            look_again(np.array([i, j]))
            continue
        if len(members[i]) < len(members[j]):
            i, j = j, i
        turn = -1.0 if coupling[i, j] < 0 else 1.0
        signs[members[j]] *= turn
        members[i], members[j] = members[i] + members[j], []
        coupling[i] += turn * coupling[j]
        coupling[i, i] = 0
        coupling[:, i] = coupling[i]
        coupling[j] = coupling[:, j] = 0
        within[i] += within[j]
        strength[i] = strength[:, i] = np.abs(coupling[i])
        strength[j] = strength[:, j] = 0
        look_again(np.flatnonzero((partner == i) | (partner == j) | (np.arange(count) == i)))
        stronger = strength[:, i] > best
        partner[stronger], best[stronger] = i, strength[stronger, i]


def _components(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Numbers of the parts of the cloud that no chain of neighbours connects."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    _, nearest = cKDTree(points).query(points, k=min(9, len(points)))
    start = np.repeat(np.arange(len(points)), nearest.shape[1])
    ones = np.ones(nearest.size, dtype=bool)
    graph = coo_array((ones, (start, nearest.reshape(-1))), shape=(len(points), len(points)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _apart(
    pieces: list[list[int]],
    component: Int[np.ndarray, " c"],
    points: Float[np.ndarray, "c 3"],
    dipoles: Float[np.ndarray, "c 3"],
) -> list[list[int]]:
    """Closed components as pieces of their own: what couples them to others is noise."""
    result = []
    for piece in pieces:
        rest = []
        for number in np.unique(component[piece]):
            part = [i for i in piece if component[i] == number]
            areas = np.linalg.norm(dipoles[part], axis=1)
            arms = points[part] - points[part].mean(axis=0)
            sideways = np.linalg.norm(dipoles[part].sum(axis=0))
            outward, reach = abs((arms * dipoles[part]).sum()), areas @ np.linalg.norm(arms, axis=1)
            if sideways < CLOSED * areas.sum() and outward > CLOSED * reach:
                result.append(part)
            else:
                rest += part
        result += [rest] if rest else []
    return result


def _face_inward(
    points: Float[np.ndarray, "n 3"],
    dipoles: Float[np.ndarray, "n 3"],
    pieces: list[list[int]],
    spacing: float,
) -> list[bool]:
    """Whether each piece faces in as it is; of one inside others, whether it does not make a hole.

    The winding number of a larger piece at half the points of a smaller one tells what is inside.
    """
    volumes = []
    for piece in pieces:
        x = points[piece]
        volumes.append(float(((x - x.mean(axis=0)) * dipoles[piece]).sum()))
    inward = []
    for piece, volume in zip(pieces, volumes, strict=True):
        depth = 0
        for other, other_volume in zip(pieces, volumes, strict=True):
            if abs(other_volume) > abs(volume):
                sample = points[piece[:: max(len(piece) // 50, 1)]]
                winding = _winding(sample, points[other], dipoles[other], spacing)
                depth += bool(np.median(winding) * np.sign(other_volume) > 0.5)
        inward.append((volume < 0) != (depth % 2 == 1))
    return inward


def _winding(
    at: Float[np.ndarray, "n 3"],
    points: Float[np.ndarray, "m 3"],
    dipoles: Float[np.ndarray, "m 3"],
    near: float,
) -> Float[np.ndarray, " n"]:
    """How often a surface of points winds around others (Barill et al. 2018)."""
    offset = points - at[:, None]
    squared = (offset**2).sum(axis=2) + near**2
    return ((offset * dipoles).sum(axis=2) / squared**1.5).sum(axis=1) / (4 * np.pi)
