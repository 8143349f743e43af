"""Published joules and peaks: held against each other and against figures of their publishers."""

import pytest

from greenbatch.analysis.published.energy import energy_records, measured_records
from greenbatch.analysis.published.peaks import peak_of, peaks


def test_records_name_what_they_are_of() -> None:
    for record in energy_records():
        assert record.energy_per_image_j > 0
        assert record.boundary
        assert record.source


@pytest.mark.parametrize(
    ("device_class", "least_j_per_gmac", "most_j_per_gmac"),
    [("gpu", 0.00154, 0.0178), ("cpu", 0.196, 0.631), ("npu", 0.00058, 0.00101)],
)
def test_a_class_spans_what_was_published_of_it(
    device_class: str, least_j_per_gmac: float, most_j_per_gmac: float
) -> None:
    found = [1e9 * record.joules_per_mac for record in measured_records(device_class)]
    assert min(found) == pytest.approx(least_j_per_gmac, rel=0.01)
    assert max(found) == pytest.approx(most_j_per_gmac, rel=0.01)


def test_upper_bounds_are_no_measurements() -> None:
    assert any(record.certainty == "upper bound" for record in energy_records())
    assert all(record.certainty != "upper bound" for record in measured_records("cpu"))


def test_a_certified_figure_at_the_wall_is_three_times_the_peak_of_its_gpu() -> None:
    """Eight H200 by MLPerf Inference 4.1: 8.91 mJ for an image of ResNet-50 in int8."""
    peak = peak_of("NVIDIA H200")
    assert peak is not None
    floor_j = peak.joules_per_mac("int8")
    record = next(r for r in energy_records() if r.system == "8x H200 SXM MaxQ")
    assert floor_j is not None
    assert record.joules_per_mac / floor_j == pytest.approx(3.1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIE-40GB"),
        ("Tesla V100-PCIE-16GB", "V100-PCIE"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
    ],
)
def test_a_device_is_found_by_the_name_that_its_driver_gives_it(name: str, device: str) -> None:
    peak = peak_of(name)
    assert peak is not None
    assert peak.device == device


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GH200 480GB",
        "NVIDIA H200 NVL",
        "NVIDIA H100 NVL",
        "NVIDIA A100 80GB PCIe",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA A40-48Q",
        "NVIDIA A10G",
        "NVIDIA L40",
        "NVIDIA RTX A2000",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 3090 Ti",
        "",
    ],
)
def test_a_part_of_a_device_or_another_has_no_peak(name: str) -> None:
    assert peak_of(name) is None


def test_a_peak_that_is_not_stated_gives_no_energy() -> None:
    peak = peak_of("Tesla T4")
    assert peak is not None
    assert peak.joules_per_mac("bf16") is None
    assert peak.joules_per_mac("fp16") == pytest.approx(2 * 70 / 65.13e12)


def test_a_lower_precision_never_needs_more_at_the_peak() -> None:
    for peak in peaks():
        found = [peak.joules_per_mac(name) for name in ("fp32", "fp16", "int8")]
        known = [value for value in found if value is not None]
        assert known == sorted(known, reverse=True)
        assert peak.source
