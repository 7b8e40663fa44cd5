"""GPUs as NVIDIA's driver and the backend see them. What nvidia-smi prints here is what it printed
on such machines.
"""

from pathlib import Path

import pytest

from edgeemo.errors import RunError
from training.machines import nvidia
from training.machines.backend import first_choice
from training.machines.nvidia import Driver, Gpu, ask_driver, peak
from training.machines.seen import Seen, look, need_gpu, why_idle

H100 = Gpu("NVIDIA H100 80GB HBM3", "580.82.07", 81559, 4, 9.0)
ON_CPU = Seen("tensorflow", "2.21.0")
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that "
    "the latest NVIDIA driver is installed and running.\n\n"
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "KERAS_BACKEND", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0) -> None:
    """A program on the PATH that prints what nvidia-smi did, and knows compute_cap where the text
    has five columns.
    """
    program = folder / "nvidia-smi"
    (folder / "printed").write_bytes(text.encode("utf-8", "surrogateescape"))
    field = 'Field "compute_cap" is not a valid field to query.'
    old = f"case $1 in *compute_cap*) echo '{field}'; exit 2;; esac\n" * (text.count(",") == 3)
    program.write_text(f"#!/bin/sh\n{old}cat '{folder}/printed'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("printed", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3, 580.82.07, 81559, 4, 9.0\n", H100),
        (
            "NVIDIA GeForce RTX 5070 Ti, 580.95.05, 16303, 500, 12.0\n",
            Gpu("NVIDIA GeForce RTX 5070 Ti", "580.95.05", 16303, 500, 12.0),
        ),
        (  # memory that it shares with the processor
            "NVIDIA GB10, 580.95.05, [N/A], [N/A], 12.1\n",
            Gpu("NVIDIA GB10", "580.95.05", None, None, 12.1),
        ),
        (  # a driver that does not know compute_cap
            "Tesla T4, 470.182.03, 15109, 3\n",
            Gpu("Tesla T4", "470.182.03", 15109, 3, None),
        ),
    ],
)
def test_nvidia_smi_names_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, gpu: Gpu
) -> None:
    stand_in(tmp_path, monkeypatch, printed)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    assert ask_driver(tmp_path) == Driver((gpu,), nodes=(str(tmp_path / "nvidia0"),))


@pytest.mark.parametrize(
    ("printed", "code", "fault"),
    [
        (NO_DRIVER, 9, " ".join(NO_DRIVER.split())),
        (
            "Failed to initialize NVML: Driver/library version mismatch\n"
            "NVML library version: 580.126\n", 18,
            "Failed to initialize NVML: Driver/library version mismatch NVML library version: "
            "580.126",
        ),
        ("No devices were found\n", 6, "No devices were found"),
        ("", 1, "exit code 1"),
        ("\udcff\x1b[31m" * 300, 0, None),
        ("", 0, "exit code 0"),
    ],
)  # fmt: skip
def test_what_nvidia_smi_says_instead_is_kept_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, code: int, fault: str | None
) -> None:
    stand_in(tmp_path, monkeypatch, printed, code)
    driver = ask_driver(tmp_path)
    assert not driver.gpus
    assert not driver.present
    assert len(driver.fault) <= 200
    assert fault is None or driver.fault == fault


def test_no_nvidia_smi_and_no_device_file_is_a_machine_without_such_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "dxg").touch()  # WSL without NVIDIA's part
    assert ask_driver(tmp_path) == Driver()


def test_nvidia_smi_that_hangs_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(nvidia, "_PATIENCE", 0.2)
    assert ask_driver(tmp_path).fault == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NVIDIA H200", 989.0),
        ("NVIDIA H200 NVL", 836.0),
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("Tesla T4", 65.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA L40", None),
        ("NVIDIA T400", None),
        ("NVIDIA GB10", None),
        ("", None),
    ],
)
def test_a_chip_has_the_peak_of_its_data_sheet_or_none(name: str, value: float | None) -> None:
    assert peak(name) == value


def test_a_backend_without_cuda_beside_a_gpu_says_what_to_install() -> None:
    line = why_idle(ON_CPU, Driver((H100,)))
    assert line.startswith(
        "NVIDIA H100 80GB HBM3 lies idle: tensorflow 2.21.0 here has no CUDA; run: pip install "
    )
    assert line.endswith("[train,gpu]'")


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [
        (
            Gpu("NVIDIA L4", "550.90.07", 24564, 0, 8.9),
            "its driver is 550.90.07, and CUDA 13 needs 580 or newer; install a newer driver, or "
            "run: pip install 'jax[cuda12]'",
        ),
        (
            Gpu("NVIDIA TITAN V", "580.86.15", 12066, 0, 7.0),
            "its compute capability is 7, and CUDA 13 needs 7.5; run: pip install 'jax[cuda12]'",
        ),
    ],
)
def test_a_gpu_that_cuda_13_does_not_serve_is_told_of_before_anything_is_installed(
    gpu: Gpu, reason: str
) -> None:
    assert why_idle(ON_CPU, Driver((gpu,))) == f"{gpu.name} lies idle: {reason}"


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (Driver(nodes=("/dev/nvidia0",)), "there is no nvidia-smi to ask; install NVIDIA's driver"),
        (Driver(fault="NVIDIA-SMI has failed", nodes=("/dev/nvidia0",)), "580 or newer"),
        (
            Driver(fault="Driver/library version mismatch", nodes=("/dev/nvidia0",)),
            "restart this machine",
        ),
    ],
)
def test_a_device_file_without_a_driver_that_answers_points_to_the_driver(
    driver: Driver, words: str
) -> None:
    line = why_idle(ON_CPU, driver)
    assert line.startswith("an NVIDIA GPU (/dev/nvidia0) lies idle: ")
    assert words in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("CUDA_VISIBLE_DEVICES", ""), ("CUDA_VISIBLE_DEVICES", "-1"), ("JAX_PLATFORMS", "cpu")],
)
def test_a_variable_that_hides_the_gpu_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    line = why_idle(Seen("jax", "0.10.2"), Driver((H100,)))
    assert line.endswith(f"{name} is set to {value!r}, which hides it; run: unset {name}")


def test_what_the_backend_said_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.machines.seen.uses_cuda", lambda backend: True)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda/lib64")
    seen = Seen("jax", "0.12.0", fault="Unable to load cuDNN. Is it installed?")
    assert (
        "jax 0.12.0 cannot use it (Unable to load cuDNN. Is it installed?); run: unset "
        "LD_LIBRARY_PATH, or else: pip install " in why_idle(seen, Driver((H100,)))
    )


def test_nothing_lies_idle_where_the_gpu_is_used_or_there_is_none() -> None:
    used = Seen("jax", "0.12.0", ("NVIDIA H100 80GB HBM3",))
    assert why_idle(used, Driver((H100,))) == ""
    assert why_idle(ON_CPU, Driver()) == ""
    assert why_idle(ON_CPU, Driver(fault="No devices were found")) == ""


def test_devices_are_named_with_their_number() -> None:
    one = Seen("jax", "0.12.0", ("NVIDIA L4",))
    two = Seen("jax", "0.12.0", ("NVIDIA L4", "NVIDIA L4"))
    assert (one.where(), two.where(), two.where(2)) == (
        "GPU (NVIDIA L4)", "GPU (NVIDIA L4)", "2 GPUs (NVIDIA L4)",
    )  # fmt: skip
    assert ON_CPU.where().startswith("CPU (")
    assert ON_CPU.where(2).startswith("2 CPU devices (")


def test_beside_a_gpu_the_backend_with_cuda_comes_first(tmp_path: Path) -> None:
    installed = ["tensorflow", "jax"]
    assert first_choice(installed, tmp_path) == "tensorflow"
    (tmp_path / "nvidia0").touch()
    # Neither has CUDA here.
    assert first_choice(installed, tmp_path) == "tensorflow"


def test_family_on_a_gpu_that_is_not_there_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="received a machine without an NVIDIA GPU"):
        need_gpu("jax")


def test_jax_computes_on_the_processor_here() -> None:
    seen = look("jax")
    assert (seen.backend, seen.gpus, seen.fault, seen.works) == ("jax", (), "", True)
