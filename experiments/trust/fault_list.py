"""The faults that ``faults.py`` makes, with the fast tests that concern each."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A change of the package.

    Attributes:
        file: in ``shapeopt/``.
        old: the text there, once.
        new: what it becomes.
        breaks: in words.
        tests: files, or single tests.
        chosen: those of them alone, as pytest's ``-k`` takes it: compiling takes long.
    """

    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]
    chosen: str = ""


SUBDIVISION = "extraction/subdivision/"
TRACING = "extraction/tracing/"
HALFSPACES = "extraction/halfspaces/"

SKELETON = ("tests/extraction/subdivision/test_subdivide.py",)
BACKENDS = ("tests/extraction/subdivision/test_backends.py",)
BOUNDS = ("tests/extraction/subdivision/test_bounds.py",)
REGIONS = ("tests/extraction/subdivision/test_regions.py",)
EXTRACT = ("tests/extraction/test_extract.py",)
EXACT = ("tests/extraction/test_against_exact.py",)
DEGENERATE = ("tests/extraction/test_degenerate.py",)
FINISH = ("tests/extraction/test_finish.py",)
MAXIMA = ("tests/extraction/test_maxima.py",)
COUNTS = ("tests/extraction/test_counts.py",)
TRACED = ("tests/extraction/tracing/test_tracing.py",)
CELLS = ("tests/extraction/tracing/test_zero_cells.py",)
WARM = ("tests/extraction/tracing/test_warm_start.py",)
UNIONS = ("tests/extraction/halfspaces",)
DIFFERENTIATED = "tests/complex/test_differentiate.py::"
READING = ("tests/networks/test_reading.py",)
CERTIFICATES = ("tests/extraction/test_certificate.py",)

FAULTS = [
    Fault(
        SUBDIVISION + "plain.py",
        "t = (at_u / (at_u - at_v))",
        "t = (at_v / (at_v - at_u))",
        "a cut is measured from the wrong end of the edge",
        SKELETON,
        "plain",
    ),
    Fault(
        SUBDIVISION + "plain.py",
        "masked_fill(self.at.is_before, -torch.inf).fill_diagonal_(torch.inf)",
        "masked_fill(self.at.is_before, -torch.inf)",
        "the neuron that cuts is + at its own vertices",
        SKELETON,
        "plain",
    ),
    Fault(
        SUBDIVISION + "plain.py",
        "return not bool(is_wrong)",
        "return True",
        "two cells with one key go unnoticed",
        SKELETON,
        "plain",
    ),
    Fault(
        SUBDIVISION + "plain.py",
        "self.edges.data.copy_((vertices.cumsum(0) - 1)[ends])",
        "self.edges.data.copy_(vertices.cumsum(0)[ends])",
        "after pruning every edge has the vertex after its own",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "plain.py",
        "limits = (-self.threshold).expand(width, -1)",
        "limits = self.threshold.expand(width, -1)",
        "values at rounding level count as - at new vertices, and as + at old ones",
        BACKENDS,
        "degenerate or lie_on_each_other",
    ),
    Fault(
        SUBDIVISION + "kernels.py",
        "if growing.values[i, neuron] >= -layer.threshold[neuron]:",
        "if growing.values[i, neuron] >= layer.threshold[neuron]:",
        "values at rounding level count as -",
        BACKENDS,
        "lie_on_each_other and dtype1",
    ),
    Fault(
        SUBDIVISION + "kernels.py",
        "            return\n        mask = np.uint32(0xFFFFFFFF)",
        "            return",
        "an edge that no neuron of its word cuts loses some of the next word",
        BACKENDS,
        "sizes2 and dtype1",
    ),
    Fault(
        SUBDIVISION + "kernels.py",
        "  # a third edge of one face\n            num_unpaired = -1\n            break",
        "  # a third edge of one face\n            pass",
        "a third cut edge of a face goes unnoticed",
        BACKENDS,
        "twice",
    ),
    Fault(
        SUBDIVISION + "kernels.py",
        "if side == 1 and zero < layer.first_neuron:",
        "if side == 1:",
        "a + of this layer is counted twice in an edge's key",
        BACKENDS,
        "sizes4 and dtype1",
    ),
    Fault(
        SUBDIVISION + "values_compiled.py",
        "inputs[k, i] = least if x < least else x",
        "inputs[k, i] = x",
        "a layer gets what the one before has below 0, too",
        ("tests/extraction/subdivision/test_values_compiled.py",),
    ),
    Fault(
        SUBDIVISION + "compiled.py",
        "for rows in (self.positions, self.vertex_zeros, self.plus_bits, self.values):",
        "for rows in (self.positions, self.vertex_zeros, self.plus_bits):",
        "after pruning values are those of other vertices",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "bounds.py",
        "middle = torch.where(crosses, -factor * low / 2, 0)",
        "middle = torch.where(crosses, factor * low / 2, 0)",
        "the line for a ReLU lies below it",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "bounds.py",
        "reach = self.errors.abs().sum(dim=1) + self.slack",
        "reach = self.slack",
        "the errors of the lines for ReLUs are not counted",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "bounds.py",
        "(self.slack * factor) @ sizes.T + unit * (size @ sizes.T + after.bias.abs()),",
        "0 * ((self.slack * factor) @ sizes.T),",
        "the rounding of bounds is not counted",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "regions.py",
        "[self.around].any(dim=0)",
        "[self.around].all(dim=0)",
        "edges go that touch one region without a zero",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "regions_compiled.py",
        "if outside & ~side:  # beyond a box plane",
        "if outside & side:  # beyond a box plane",
        "regions lie on the outer side of the box",
        REGIONS,
    ),
    Fault(
        SUBDIVISION + "assemble.py",
        "cells.plus_bits[:, output_word] == 0",
        "cells.plus_bits[:, output_word] != 0",
        "caps lie where f > 0",
        EXTRACT,
    ),
    Fault(
        "extraction/finish.py",
        "side = (planes % 2 * 2 - 1)",
        "side = (1 - planes % 2 * 2)",
        "the normals of caps point inward",
        EXTRACT,
    ),
    Fault(
        "extraction/finish.py",
        "normals = unit(gradients)",
        "normals = unit(gradients.detach())",
        "normals have no gradient",
        (DIFFERENTIATED + "test_gradient_with_respect_to_all_weights[smoothness]",),
    ),
    Fault(
        "extraction/finish.py",
        "return sharpness + (zeros >= signs.constraints.num_neurons).sum(dim=1)",
        "return sharpness",
        "a vertex at the box is contracted into one inside",
        FINISH,
    ),
    Fault(
        "extraction/finish.py",
        "    if faults[0]:\n",
        "    if False:\n",
        "a surface that ends inside the box is returned",
        FINISH,
    ),
    Fault(
        "extraction/finish.py",
        "    if faults[1]:\n",
        "    if False:\n",
        "a surface that is wound two ways is returned",
        FINISH,
    ),
    Fault(
        "extraction/collapse.py",
        "return (end - start).square().sum(dim=1) >= SHORTEST_EDGE**2",
        "return (end - start).square().sum(dim=1) >= SHORTEST_EDGE",
        "edges of 1e-6 are contracted",
        EXACT,
        "tiny",
    ),
    Fault(
        "extraction/collapse.py",
        "    loops = _split_where_pinched(loops)\n",
        "",
        "a polygon that is contracted to two is not split",
        EXACT,
    ),
    Fault(
        "extraction/collapse.py",
        "    kept = _at_the_box(found, edge_class)[kept]\n",
        "",
        "of edges that fall together the one at the box is forgotten",
        EXACT,
    ),
    Fault(
        "extraction/collapse.py",
        'best.scatter_reduce_(0, group[joined], worth, "amax")',
        'best.scatter_reduce_(0, group[joined], worth, "amin", include_self=False)',
        "of vertices that fall together the worst one stays",
        EXACT,
    ),
    Fault(
        "extraction/dissolve.py",
        "loops[counts > 1]",
        "loops[counts > 2]",
        "a polygon gets a hole",
        MAXIMA,
    ),
    Fault(
        "extraction/dissolve.py",
        " & (found.edge_faces.amin(dim=1) >= 0)\n",
        "\n",
        "a polygon is joined across the border with one that is not there",
        EXACT,
        "plane or slab or sheet or box",
    ),
    Fault(
        "extraction/dissolve.py",
        "    is_line &= _turn(found, vertex[first], one, two) < LEAST_TURN\n",
        "",
        "corners at which a sheet's two sides meet are taken for straight",
        EXACT,
        "sheet",
    ),
    Fault(
        "extraction/tolerances.py",
        "FLATTEST_FOLD = 2.0**-36",
        "FLATTEST_FOLD = 2.0**-5",
        "folds that bend f a little are dissolved",
        COUNTS,
    ),
    Fault(
        "extraction/orientation.py",
        "is_flipped[thin] = along != _runs_from_first",
        "is_flipped[thin] = along == _runs_from_first",
        "thin polygons are the wrong way round",
        EXACT,
    ),
    Fault(
        "extraction/orientation.py",
        "(other - constraints.num_neurons) % 2 == 1",
        "(other - constraints.num_neurons) % 2 == 0",
        "thin polygons at the box are the wrong way round",
        EXACT,
    ),
    Fault(
        "extraction/condition.py",
        "return rough + (total + lost - rough).detach()",
        "return rough",
        "moving a far box to the origin rounds",
        ("tests/extraction/test_condition.py",),
    ),
    Fault(
        "extraction/condition.py",
        "bound = torch.where(plane % 2 == 0, self.given.lower[axis], self.given.upper[axis])",
        "bound = torch.where(plane % 2 == 1, self.given.lower[axis], self.given.upper[axis])",
        "moved back, vertices at one face of the box are at the opposite one",
        EXACT,
    ),
    Fault(
        "extraction/certificate.py",
        "errors[torch.isfinite(errors)].amax()",
        "errors[torch.isfinite(errors)].amin()",
        "a certificate gives the least error for the largest",
        CERTIFICATES,
    ),
    Fault(
        "extraction/certificate.py",
        "        extractor.is_complete,\n",
        "        True,\n",
        "a certificate calls every surface complete",
        CERTIFICATES,
    ),
    Fault(
        TRACING + "kernels.py",
        "        if not s * s + t * t < reach:\n            return 0\n",
        "",
        "a walk goes past the lines that are looked at",
        CELLS,
    ),
    Fault(
        TRACING + "kernels.py",
        "values[j] = sign[j] * value + shifts[j]",
        "values[j] = sign[j] * value - shifts[j]",
        "values at rounding level count as -",
        TRACED,
    ),
    Fault(
        TRACING + "kernels.py",
        "return failed == 0",
        "return failed <= 1",
        "warm: a vertex is kept though one of its signs has changed",
        WARM,
    ),
    Fault(
        TRACING + "plain_polygons.py",
        "< near.reach[:, None]",
        "< torch.inf",
        "a walk goes past the lines that are looked at",
        TRACED,
    ),
    Fault(
        TRACING + "plain.py",
        "shift = ROUNDING_ULPS * _EPS * order * sizes",
        "shift = ROUNDING_ULPS * _EPS * sizes",
        "coinciding folds have no order",
        TRACED,
    ),
    Fault(
        TRACING + "plain_segments.py",
        "place = (shift[row, line] - value[row, line])",
        "place = (-shift[row, line] - value[row, line])",
        "ends of segments are moved by the shifts, not moved back",
        EXACT,
    ),
    Fault(
        TRACING + "seen_cells.py",
        "        is_new[1:].logical_and_(behind[1:] != behind[:-1])\n",
        "",
        "a polygon is visited from each of its neighbours",
        TRACED,
    ),
    Fault(
        TRACING + "seen_cells.py",
        "self._before = torch.cat([self._known, keys])",
        "self._before = self._known",
        "a front turns back to the one before",
        TRACED,
    ),
    Fault(
        TRACING + "assemble.py",
        "if not bool(((edges.counts == 1 + is_inner.long()) & (agree | ~is_inner)).all()):",
        "if False:",
        "polygons that do not fit together make a mesh",
        CELLS,
    ),
    Fault(
        TRACING + "extractor.py",
        "self.network() is network\n",
        "True\n",
        "warm: another network goes on from this one's surface",
        WARM + TRACED,
    ),
    Fault(
        TRACING + "extractor.py",
        "if has_copies(surface.vertices.detach(), compiled=compiled):",
        "if False:",
        "a surface along a fold is returned twice",
        EXACT + DEGENERATE,
    ),
    Fault(
        TRACING + "seeds.py",
        "reach = steepest * dimension**0.5 / 2",
        "reach = 0.0",
        "the grid is nowhere halved",
        TRACED,
        "halved",
    ),
    Fault(
        TRACING + "seeds.py",
        "    for axis in range(dimension):\n        one, two = (on_grid",
        "    for axis in range(1):\n        one, two = (on_grid",
        "seeds are looked for along one axis",
        CELLS,
        "each_of_its_lines",
    ),
    Fault(
        HALFSPACES + "polygons.py",
        "return np.bincount(met // count, minlength=len(mesh.vertices)) >= 3",
        "return np.bincount(met // count, minlength=len(mesh.vertices)) >= 2",
        "corners are left on straight edges",
        UNIONS,
    ),
    Fault(
        HALFSPACES + "polygons.py",
        "if len(borders) > 1 or len(set(borders[0])) < len(borders[0]):",
        "if len(set(borders[0])) < len(borders[0]):",
        "a face with a hole is not cut",
        UNIONS,
    ),
    Fault(
        HALFSPACES + "surface.py",
        "return value - (inverse @ (residual - residual.detach())",
        "return value + (inverse @ (residual - residual.detach())",
        "the gradient of the vertices has the wrong sign",
        UNIONS,
    ),
    Fault(
        HALFSPACES + "polytope.py",
        "if centre is None or (offsets - normals @ centre).min() < COMFORTABLE:",
        "if centre is None:",
        "a known inner point is taken though it lies outside by now",
        UNIONS,
    ),
    Fault(
        "complex/differentiate.py",
        "return vertices - step + torch.where(too_long, step.detach(), 0)",
        "return vertices - step",
        "a sliver's vertex is thrown far away",
        (
            DIFFERENTIATED + "test_value_is_on_the_surface",
            DIFFERENTIATED + "test_singular_vertices_get_no_gradient_but_stay",
        ),
    ),
    Fault(
        "complex/differentiate.py",
        "return torch.where(is_regular[:, None, None], inverse, 0), is_regular",
        "return inverse, torch.ones_like(is_regular)",
        "vertices of coinciding folds have NaN gradients",
        (DIFFERENTIATED + "test_singular_vertices_get_no_gradient_but_stay",),
    ),
    Fault(
        "complex/cells.py",
        "exists = (is_plus | (chosen < constraints.num_neurons)).all(dim=1)",
        "exists = (is_plus | (chosen <= constraints.num_neurons)).all(dim=1)",
        "there are cells beyond one face of the box",
        EXTRACT,
    ),
    Fault(
        "complex/interfaces.py",
        "is_wrong = (areas * (second - first)).sum(dim=1) < 0",
        "is_wrong = (areas * (second - first)).sum(dim=1) > 0",
        "interfaces are seen from the first class",
        ("tests/extraction/test_views.py",),
    ),
    Fault(
        "networks/reading.py",
        "for child in module._modules.values():",
        "for child in module.children():",
        "a module that is used twice is read once",
        READING,
    ),
    Fault(
        "networks/reading.py",
        "        or module._forward_hooks\n",
        "",
        "hooks are not read",
        READING,
    ),
    Fault(
        "networks/reading.py",
        "if not bool(difference <= SLACK_ULPS * eps * size):",
        "if False:",
        "a network that runs otherwise than it is read is extracted",
        READING,
    ),
    Fault(
        "networks/folds.py",
        "return q + relu(p - q)",
        "return p + relu(p - q)",
        "a maximum is none",
        READING,
    ),
    Fault(
        "networks/operations.py",
        "return value.double() if is_number and value.is_floating_point() else value",
        "return value",
        "networks are run in their own precision to be read",
        READING,
    ),
    Fault(
        "networks/lowering.py",
        "if group in before.raw and group not in summed:",
        "if group in before.raw:",
        "what is passed on as a sum is added again",
        (*READING, "tests/extraction/test_recipes.py"),
    ),
    Fault(
        "complex/differentiate_compiled.py",
        "_mask(slopes.numpy(), signs, constraints.words(layer - 1).start)",
        "pass",
        "gradients pass through neurons that are not +",
        ("tests/complex/test_differentiate.py",),
        "compiled",
    ),
    Fault(
        TRACING + "assemble_compiled.py",
        "owner[one], owner[two] if is_inner else -1",
        "owner[one], owner[two]",
        "at the border of the box a polygon is its own neighbour",
        ("tests/extraction/tracing/test_zero_cells.py",),
        "one_thread",
    ),
    Fault(
        TRACING + "kernels.py",
        "queue.points[num_queued, k] = middle",
        "queue.points[num_queued, k] = room.corners[facet, k]",
        "a polygon is walked from its corner, where lines meet",
        ("tests/extraction/tracing/test_zero_cells.py",),
        "one_thread or known_cells",
    ),
    Fault(
        "mesh/triangle_points.py",
        "result[corners[i, k], axis] += weights[i, k] * gradient[i, axis]",
        "result[corners[i, k], axis] = weights[i, k] * gradient[i, axis]",
        "a vertex gets the gradient of one of its points",
        ("tests/mesh/test_triangle_points.py",),
    ),
    Fault(
        TRACING + "kernels.py",
        "at in range(first, first + width, 8)",
        "at in range(first, first + width - width % 8, 8)",
        "of a layer whose width is no multiple of 8 the last neurons are left out",
        ("tests/extraction/tracing/test_zero_cells.py",),
    ),
    Fault(
        TRACING + "kernels.py",
        "count += squared[j] <= reach",
        "count += squared[j] <= reach / 4",
        "lines that bound a polygon are left out",
        ("tests/extraction/tracing/test_zero_cells.py",),
    ),
    Fault(
        "mesh/nearest_triangles.py",
        "if other <= best:",
        "if other < best / 2:",
        "parts of the mesh that are a little nearer are not looked at",
        ("tests/mesh/test_nearest_triangles.py",),
    ),
    Fault(
        "networks/reading.py",
        "_form_run.get(network) == reading.form()",
        "network in _form_run",
        "a network whose layers were exchanged is not run again",
        READING,
    ),
    Fault(
        TRACING + "kernels.py",
        "store(values, at, larger(loaded(values, at), loaded(floor, at)))",
        "pass",
        "seeds are sought on a network without folds",
        ("tests/extraction/tracing/test_zero_cells.py",),
    ),
    Fault(
        SUBDIVISION + "bounds_compiled.py",
        "store(region.low, at, minus(low, reach))",
        "store(region.low, at, low)",
        "bounds leave out what ReLUs that bend add below",
        ("tests/extraction/subdivision/test_bounds.py",),
    ),
    Fault(
        SUBDIVISION + "regions_compiled.py",
        "own += place * int(cells.vertex_zeros[u, place] == zero)",
        "own += 0",
        "the regions around an edge are those on another side of its end",
        ("tests/extraction/subdivision/test_regions.py",),
    ),
    Fault(
        "complex/keys_compiled.py",
        "byte += 1",
        "byte += 2",
        "keys of cells are made of the numbers of other neurons",
        ("tests/complex/test_keys_compiled.py",),
    ),
    Fault(
        TRACING + "seeds.py",
        "(halves == 1).any(dim=1)",
        "(halves == 1).all(dim=1)",
        "of halved cells the middles alone are looked at",
        ("tests/extraction/tracing/test_seeds.py",),
    ),
    Fault(
        "extraction/polygons_compiled.py",
        "corners[start + stop - 1 - k]",
        "corners[k]",
        "polygons are never turned round",
        ("tests/extraction/subdivision/test_assemble.py",),
    ),
    Fault(
        "sorting.py",
        "ordered[at - 1] > number:",
        "ordered[at - 1] >= number:",
        "equal keys change places",
        ("tests/test_sorting.py",),
    ),
    Fault(
        TRACING + "kernels.py",
        "plus_bits[row, word + ((start - first) >> 5)]",
        "plus_bits[row, word]",
        "of a layer all neurons have the signs of the first 32",
        CELLS,
    ),
    Fault(
        TRACING + "kernels.py",
        "outputs[vertex, j] = values[j] if sign[j] > 0 else 0.0",
        "outputs[vertex, j] = values[j]",
        "neurons that are not + pass something on to the gradient",
        CELLS,
        "pass_on",
    ),
    Fault(
        TRACING + "kernels.py",
        "is_new_point |= points[vertex, k] != points[vertex - 1, k]",
        "is_new_point |= False",
        "vertices are solved from the point of the first one",
        CELLS,
        "compiled_vertices",
    ),
    Fault(
        TRACING + "extractor.py",
        "if not are_new:",
        "if False:",
        "after a step polygons keep the normals of the weights before",
        WARM,
        "normals",
    ),
    Fault(
        TRACING + "warm_start.py",
        "outputs = outputs.index_copy(0, far, there.to(outputs.dtype))",
        "pass",
        "a vertex that stays has the gradient of where it was solved to be",
        WARM,
        "far_away",
    ),
    Fault(
        "extraction/polygons_compiled.py",
        "is_at_box |= zero >= num_neurons",
        "is_at_box = True",
        "a surface may end inside the box",
        FINISH,
    ),
    Fault(
        SUBDIVISION + "bounds.py",
        "below, above = gaps @ weight.clamp(min=0) + reach,",
        "below, above = reach,",
        "f is taken to be least at the corners",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "bounds_compiled.py",
        "not least > total(gaps) + other_gaps + output.reach",
        "not least > total(gaps) + other_gaps",
        "the rounding of f is not counted before the output",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "bounds_compiled.py",
        "loaded(output.weights, below * width + at)",
        "loaded(output.weights, at)",
        "inside, gaps of ReLUs raise f by their wrong weights",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "regions_compiled.py",
        "if are_corners[u] and are_corners[v]:",
        "if are_corners[u] and not are_corners[v]:",
        "the edges of a region are not those between its corners",
        REGIONS,
    ),
    Fault(
        SUBDIVISION + "pruning.py",
        "return hidden_left > 1 or _cuts_per_vertex(layer, edges, values) >= self.min_cuts",
        "return True",
        "regions are left out where that takes longer than it saves",
        BOUNDS,
    ),
    Fault(
        SUBDIVISION + "bounds.py",
        "gaps = -low * (high / (high - low).clamp(min=SMALLEST))",
        "gaps = -low * high / (high - low).clamp(min=SMALLEST)",
        "products of very small numbers are 0, and so are the gaps",
        BOUNDS,
    ),
]
