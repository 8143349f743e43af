"""One of each message between parent and child, with every field filled in."""

from pathlib import Path

from greenbatch.design.images import ImageSet
from greenbatch.design.protocol import PROFILES
from greenbatch.records import Agreement, Cell, Pipeline, Queue, Status, TrainingCell, WarmUp
from greenbatch.records.layers import Part
from greenbatch.runners.child import messages as child
from greenbatch.runners.layers import messages as layers
from greenbatch.runners.training import messages as training

CELL = Cell("alexnet", "torch-cpu", "fp16", batch_size=4, settings=(("num_threads", "2"),))
TRAINING_CELL = TrainingCell("dense", "digits", settings=(("learning_rate", "0.01"),))
RULES = PROFILES["quick"]
WARM_UP = WarmUp(iterations=3, duration_s=0.25, settled=True)
LOAD = child.Load(
    cell=CELL,
    artifact=Path("alexnet.onnx"),
    manifest=Path("alexnet.json"),
    weights=Path("alexnet.safetensors"),
    source="",
    threads=2,
    seed=7,
    images=ImageSet(folder="photographs", found=3, count=2, broken={"c.jpg": "empty"}, sha256="0"),
    preprocessing="pipeline",
    allow_fallback=False,
    cache=Path("cache"),
)
DATA = training.Data(
    data_dir="data",
    image_size=None,
    train_images=200,
    validation_images=50,
    seed=0,
    cache_bytes=2**30,
    normalised=True,
)
MEASURED = child.Measured(
    pid=17,
    window=(10.0, 12.1),
    cpu_s=3.9,
    memory_host_bytes=1 << 30,
    settings={"threads": 2, "tf32": False, "torch": "2.9", "share": 0.1, "spinning": None},
    phases_s={"start": 1.0, "load": 0.5},
    gpu_uuid="GPU-1a2b3c4d",
    figures=child.WindowFigures(
        iterations=20,
        images=80,
        latency_s={"0.5": 0.1, "1.0": 0.3},
        steady=True,
        overloaded=False,
        late=False,
        queue=Queue(
            requests=80,
            response_s={"0.5": 0.2},
            response_mean_s=None,
            busy_s=1.9,
            batch_sizes={1: 3, 4: 17},
            waiting_mean=1.5,
            waiting_max=4,
            lateness_s={"0.5": 1e-05},
            growth_hz=0.0,
            generator_cpu_s=0.01,
        ),
        pipeline=Pipeline(images=80, decode_s=0.5, transform_s=0.25, cpu_s=0.7, process_cpu_s=3.0),
    ),
    idle={"before": (5.0, 6.0), "after": (13.0, 14.0)},
    one_off={"load": (1.0, 2.0), "first": (2.0, 2.5)},
    cache="warm",
    agreement=Agreement(images=4, max_rel=1e-3, cosine=0.999),
    warm_up=WARM_UP,
    memory_children_bytes=None,
    placement={"cpu": 8},
    fell_back=False,
    goes_on=False,
    was_loaded=True,
)

FROM_PARENT: tuple[child.Message, ...] = (
    child.Order(job="repetition", backend="torch-cpu"),
    child.MeasureRepetition(
        load=LOAD,
        reference=Path("alexnet.npy"),
        arithmetic=None,
        protocol=RULES,
        window_s=2.0,
        lead_s=0.1,
        arrivals_seed=8,
        tail_s=0.0,
        idle_before_s=1.0,
        idle_after_s=0.0,
        settles=True,
        arrays=Path("arrays.npz"),
    ),
    child.Settled(),
    child.TryBatch(load=LOAD),
    child.MakeReference(load=LOAD, out=Path("alexnet.npy")),
    training.Train(
        cell=TRAINING_CELL,
        data=DATA,
        workers=2,
        prefetch=2,
        augmentation=("flip",),
        threads=1,
        training_seed=3,
        weights="random",
        course=training.Course(
            epochs=4,
            patience=0,
            monitor="accuracy",
            min_change=0.001,
            plateau_factor=0.1,
            plateau_patience=10,
            frozen_epochs=1,
            frozen_settings=(("learning_rate", "0.1"),),
            frozen_batch_norm=True,
        ),
        held_epochs=0,
        checkpoints=Path("checkpoints"),
        protocol=RULES,
        idle_before_s=0.5,
        settles=False,
        beat_s=5.0,
    ),
    training.Preflight(backends=("torch-cpu",), names=("digits",), data=DATA, weights={}),
    layers.CutNetwork(load=LOAD, parts=3, folder=Path("parts")),
    layers.MeasureLayers(
        load=LOAD,
        parts=("part-1", "part-2"),
        folder=Path("parts"),
        profile_events=12,
        protocol=RULES,
        window_s=2.0,
        lead_s=0.1,
        order_seed=5,
        settles=False,
    ),
)

FROM_CHILD: tuple[child.Message, ...] = (
    child.Ready(),
    child.Failed(status=Status.OOM, reason="out of memory", disk=None),
    child.Probed(reason=None),
    child.Tried(reason=None, placement={"cpu": 1}, trial_s=2.5),
    child.Loaded(),
    child.Idling(),
    child.Warm(window_s=2.0),
    child.Ended(),
    MEASURED,
    child.Fits(),
    child.Made(),
    training.TrainingLoaded(epochs=2, note="it begins anew"),
    training.TrainingWarm(),
    training.PhaseEnded(),
    training.Heartbeat(epoch=1, at_s=20.5, images=64),
    training.EpochEnded(
        epoch=1,
        ends_s=(1.0, 2.0, 3.0, 4.0),
        train_images=200,
        validation_images=50,
        train_loss=0.9,
        loss=0.8,
        accuracy=0.7,
        f1=0.6,
        macro_precision=0.8,
        macro_recall=0.7,
        auc=None,
    ),
    training.Trained(
        pid=17,
        window=(1.0, 9.0),
        cpu_s=8.0,
        memory_host_bytes=None,
        settings={"seed": 3},
        phases_s={"start": 1.0},
        gpu_uuid=None,
        idle=None,
        warm_up=WARM_UP,
        stopped="epochs",
        parameters=1234,
        macs=4096,
    ),
    training.PreflightResult(
        reasons={"torch-cpu": None, "torch-cuda": "no GPU"}, notes=("a",), fault=None, code=0
    ),
    layers.NetworkCut(
        operators={
            "conv": layers.OperatorSource(layer="stem", origin="network", stands_for=("a", "b"))
        },
        cut_after=("conv",),
        parts=(Part(number=1, reads="x", writes="y", nodes=3, first_layer="a", last_layer="b"),),
        uncut=None,
    ),
    layers.LayersMeasured(
        windows=(layers.TargetWindow(what="whole", window=(1.0, 2.0), iterations=9, settled=True),),
        idle=((0.0, 0.5), (3.0, 3.5)),
        operators=(
            layers.ProfiledOperator(
                name="conv", operator="Conv", calls=9, time_s=0.9, layer="stem"
            ),
        ),
        settings={"threads": "1"},
        gpu_uuid=None,
    ),
)
