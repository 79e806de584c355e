"""The table of cells, by hand and against the recording; AnnData in single-cell tools."""

import importlib.util

import numpy as np
import pytest
from helpers import bodies

import analysis
from analysis import recording as rec
from analysis.assays.axes.pca import pca
from analysis.cell_table import cells, to_anndata
from nca.errors import UserError

CHANNELS = 6


def record_masks(*masks, steps=None):
    """A recording of one run whose bodies are these masks, h0 counting the cells."""
    states = np.zeros((1, len(masks), *masks[0].shape, CHANNELS), np.float32)
    for t, mask in enumerate(masks):
        states[0, t, mask, 3] = 1.0
        states[0, t, mask, 4] = np.arange(mask.sum())
    return rec.label_states(bodies.static_organism(canvas=masks[0].shape, radius=3), states, steps=steps)


@pytest.fixture(scope="module")
def recording():
    return rec.record(bodies.static_organism(channels=12), 3, runs=2)


def test_every_mature_cell_has_a_row_with_its_state_and_position():
    bar = np.zeros((9, 9), bool)
    bar[4, 2:7] = True
    table = cells(record_masks(bar))
    assert table.x.tolist() == [-2, -1, 0, 1, 2]
    assert table.y.tolist() == [0] * 5
    assert table.radius.tolist() == [2, 1, 0, 1, 2]
    assert table.edge.tolist() == [1] * 5
    assert table.s.tolist() == [0, 1, 2, 3, 4]
    assert table.h0.tolist() == [0, 1, 2, 3, 4]
    assert (table.age == 0).all()


def test_age_counts_steps_since_a_cell_last_became_mature():
    one, two = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    one[4, 4], two[4, 4:6] = True, True
    table = cells(record_masks(one, two, two, one, two, steps=[0, 10, 20, 30, 40]))
    ages = {(r.step, r.x): r.age for r in table.itertuples()}
    assert [ages[t, 0] for t in (0, 10, 20, 30, 40)] == [0, 10, 20, 30, 40]
    assert [ages[t, 1] for t in (10, 20, 40)] == [0, 10, 0]


def test_the_table_holds_the_states_of_the_recording(recording):
    table = cells(recording, steps=[0, 3])
    assert len(table) == int(recording.mature.sel(step=[0, 3]).sum())
    row = table.iloc[-1]
    state = recording.state.sel(run=row.run, step=row.step, y=row.y, x=row.x).values
    np.testing.assert_array_equal(row[list(recording.channel.values)].to_numpy(np.float32), state)
    assert analysis.cells is cells


def test_a_recording_without_cells_is_refused(recording):
    with pytest.raises(UserError, match="no step 7; it holds 0 to 3"):
        cells(recording, 7)
    with pytest.raises(UserError, match="has a mature cell"):
        cells(record_masks(np.zeros((9, 9), bool)))


needs_anndata = pytest.mark.skipif(not importlib.util.find_spec("anndata"), reason="anndata is not installed")


@needs_anndata
def test_anndata_has_the_fields_of_single_cell_tools(recording, tmp_path):
    import anndata

    components = pca(recording)
    data = to_anndata(recording, components)
    table = cells(recording, 3)
    assert data.shape == (len(table), 12)
    np.testing.assert_array_equal(data.obsm["spatial"], table[["x", "y"]])
    scores = components.scores.sel(step=3).values[recording.mature.sel(step=3).values]
    np.testing.assert_allclose(data.obsm["X_pca"], scores, atol=1e-4)
    hidden = data.var.role == "hidden"
    np.testing.assert_allclose(data.varm["PCs"][hidden], components.loadings.values.T)
    assert not data.varm["PCs"][~hidden].any()
    data.write_h5ad(tmp_path / "cells.h5ad")
    loaded = anndata.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(loaded.X, data.X)
    assert loaded.uns["recording"]["hash"] == recording.attrs["hash"]


@needs_anndata
def test_anndata_orders_steps_as_numbers(tmp_path):
    import anndata

    body = np.ones((3, 3), bool)
    data = to_anndata(record_masks(*[body] * 4, steps=[20, 40, 100, 200]), steps=[100, 20, 200, 40])
    data.write_h5ad(tmp_path / "cells.h5ad")
    for steps in (data.obs["step"], anndata.read_h5ad(tmp_path / "cells.h5ad").obs["step"]):
        assert list(steps.cat.categories) == ["20", "40", "100", "200"]
        assert steps.cat.ordered


@needs_anndata
@pytest.mark.skipif(not importlib.util.find_spec("scanpy"), reason="scanpy is not installed")
def test_scanpy_analyses_the_cells(recording):
    import scanpy

    data = to_anndata(recording, pca(recording))
    data = data[:, data.var.role == "hidden"].copy()
    scores = data.obsm["X_pca"].copy()
    scanpy.pp.pca(data, n_comps=3, svd_solver="full")
    assert abs(np.corrcoef(data.obsm["X_pca"][:, 0], scores[:, 0])[0, 1]) > 0.9999
    scanpy.pp.neighbors(data, n_neighbors=8, method="gauss", transformer="sklearn")
    scanpy.tl.diffmap(data, n_comps=5)
    assert data.obsm["X_diffmap"].shape == (data.n_obs, 5)
    scanpy.tl.rank_genes_groups(data, "run", method="t-test")
    assert set(data.uns["rank_genes_groups"]["names"]["0"]) == set(data.var_names)


@needs_anndata
@pytest.mark.skipif(not importlib.util.find_spec("squidpy"), reason="squidpy is not installed")
def test_squidpy_finds_spatial_autocorrelation_in_smooth_channels(recording):
    import squidpy

    data = to_anndata(recording)
    data = data[data.obs.run == "0"].copy()
    squidpy.gr.spatial_neighbors(data, coord_type="grid", n_neighs=4)
    squidpy.gr.spatial_autocorr(data, mode="moran", genes=["h0"], n_perms=None)
    assert data.uns["moranI"].I["h0"] > 0.5
