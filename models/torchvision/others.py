"""torchvision's networks for other tasks than classification: a table like that of the classifiers.

A test compares every figure with the installed torchvision's own. A family is called as
torchvision's module is.
"""

from collections.abc import Iterator

from greenbatch.models.spec import InputSpec, ModelSpec
from greenbatch.records import OtherInput

# A line without indent is a family and its published weights; below it, by size: name, year of the
# first publication, parameters, multiply-adds of an input in 1e9, input, shorter side of a
# photograph before the crop, what follows the name in that of the checkpoint. A minus: torchvision
# states nothing for this form or this input.
_TABLE = """
segmentation COCO_WITH_VOC_LABELS_V1
  lraspp_mobilenet_v3_large             2019  3221538   2.086 3x520x520    520 -d234d4ea
  deeplabv3_mobilenet_v3_large          2017 11029328  10.452 3x520x520    520 -fc3c493d
  fcn_resnet50                          2014 35322218 152.717 3x520x520    520 _coco-1167a1af
  deeplabv3_resnet50                    2017 42004074 178.722 3x520x520    520 _coco-cd0a2569
  fcn_resnet101                         2014 54314346 232.738 3x520x520    520 _coco-7ecb50ca
  deeplabv3_resnet101                   2017 60996202 258.743 3x520x520    520 _coco-586e9e4e
detection COCO_V1
  ssdlite320_mobilenet_v3_large         2019  3440060   0.583 3x320x320    320 _coco-a79551df
  fasterrcnn_mobilenet_v3_large_320_fpn 2015 19386354   0.719 3x320x320    320 -907ea3f9
  fasterrcnn_mobilenet_v3_large_fpn     2015 19386354   4.494 3x800x800    800 -fb6a3cc7
  fcos_resnet50_fpn                     2019 32269600 128.207 3x800x800    800 _coco-99b0c9b7
  retinanet_resnet50_fpn                2017 34014999 151.540 3x800x800    800 _coco-eeacb38b
  ssd300_vgg16                          2015 35641826  34.858 3x300x300    300 _coco-b556d3b4
  retinanet_resnet50_fpn_v2             2019 38198935 152.238 3x800x800    800 _coco-5905b1c5
  fasterrcnn_resnet50_fpn               2015 41755286 134.380 3x800x800    800 _coco-258fb6c6
  fasterrcnn_resnet50_fpn_v2            2021 43712278 280.371 3x800x800    800 _coco-dd69338a
  maskrcnn_resnet50_fpn                 2017 44401393 134.380 3x800x800    800 _coco-bf2d0c1e
  maskrcnn_resnet50_fpn_v2              2021 46359409 333.577 3x800x800    800 _coco-73cbd019
  keypointrcnn_resnet50_fpn             2017 59137258 137.420 3x800x800    800 _coco-fc266e95
video KINETICS400_V1
  s3d                                   2017  8320048  17.979 3x16x224x224 256 -d76dad2f
  mc3_18                                2017 11695440  43.343 3x16x112x112 128 -a90a0ba3
  swin3d_t                              2021 28158070  43.882 3x16x224x224 256 -7615ae03
  r2plus1d_18                           2017 31505325  40.519 3x16x112x112 128 -91a641e6
  r3d_18                                2017 33371472  40.697 3x16x112x112 128 -b3b3357e
  mvit_v2_s                             2021 34537744  64.224 3x16x224x224 256 -ae3be167
  mvit_v1_b                             2021 36610672  70.599 3x16x224x224 256 -dbeb1030
  swin3d_s                              2021 49816678  82.841 3x16x224x224 256 -da41c237
  swin3d_b                              2021 88048984 140.667 3x16x224x224 256 _1k-24f7c7c6
optical_flow -
  raft_small                            2020   990162       - 3x368x768    368 _C_T_V2-01064c6d
  raft_large                            2020  5257536       - 3x368x768    368 _C_T_SKHT_V2-ff5fadd5
quantization -
  quantized_shufflenet_v2_x0_5          2018  1366792   0.040 3x224x224    256 -
  quantized_shufflenet_v2_x1_0          2018  2278604   0.145 3x224x224    256 -
  quantized_mobilenet_v2                2018  3504872   0.301 3x224x224    256 -
  quantized_shufflenet_v2_x1_5          2018  3503624   0.296 3x224x224    232 -
  quantized_mobilenet_v3_large          2019  5483032   0.217 3x224x224    256 -
  quantized_googlenet                   2014  6624904   1.498 3x224x224    256 -
  quantized_shufflenet_v2_x2_0          2018  7393996   0.583 3x224x224    232 -
  quantized_resnet18                    2015 11689512   1.814 3x224x224    256 -
  quantized_inception_v3                2015 23834568   5.713 3x299x299    342 -
  quantized_resnet50                    2015 25557032   4.089 3x224x224    256 -
  quantized_resnext101_64x4d            2016 83455272  15.460 3x224x224    232 -
  quantized_resnext101_32x8d            2016 88791336  16.414 3x224x224    256 -
"""

_ABOUT = {
    "segmentation": "a score for each class and pixel; 'aux' is the auxiliary head of the training",
    "detection": (
        "images of one size in 0..1, normalised inside; the detections of all images in rows, "
        "'image' is the number of the image"
    ),
    "video": "a clip of 16 frames; a score for each class of Kinetics-400",
    "optical_flow": (
        "'input' and 'image2' are two frames; the flow in pixels after the last of 12 updates"
    ),
    "quantization": (
        "the network before its quantisation, in float32; torch.export does not export "
        "torchvision's quantised form, whose weights are packed objects and no tensors"
    ),
}
_ABOUT_ONE = {
    "lraspp_mobilenet_v3_large": "a score for each class and pixel",
    "maskrcnn": "'masks' are probabilities on a grid within the box, before they are pasted",
    "keypointrcnn": "'heatmaps' are scores on a grid within the box, before their maxima are found",
}
_WEIGHTS = {"raft_small": "C_T_V2", "raft_large": "C_T_SKHT_V2"}
_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_MVIT = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # detectors normalise by themselves
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_STATISTICS = {
    "detection": _PIXELS,
    "optical_flow": _HALF,
    **dict.fromkeys(("s3d", "mc3_18", "r2plus1d_18", "r3d_18"), _KINETICS),
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), _MVIT),
}


def _read(table: str) -> Iterator[ModelSpec]:
    family, published = "", ""
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            family, published = line.split()
            continue
        name, year, parameters, flops, shape, resize, checkpoint = line.split()
        weights = _WEIGHTS.get(name, published)
        yield ModelSpec(
            name=name,
            family=family,
            year=int(year),
            parameters=int(parameters),
            flops=None if flops == "-" else float(f"{flops}e9"),
            checkpoint="" if checkpoint == "-" else f"{name}{checkpoint}.pth",
            weights="" if weights == "-" else weights,
            input=_input(name, family, tuple(map(int, shape.split("x"))), int(resize)),
            about=_about(name, family),
        )


def _input(name: str, family: str, shape: tuple[int, ...], resize: int) -> InputSpec:
    mean, std = _STATISTICS.get(name) or _STATISTICS.get(family) or _IMAGENET
    second = (OtherInput(name="image2", shape=shape),) if family == "optical_flow" else ()
    return InputSpec(
        shape=shape,
        layout="CTHW" if family == "video" else "CHW",
        resize=resize,
        crop=shape[-2],
        mean=mean,
        std=std,
        others=second,
    )


def _about(name: str, family: str) -> str:
    if name in _ABOUT_ONE:
        return _ABOUT_ONE[name]
    more = _ABOUT_ONE.get(name.partition("_")[0])
    return f"{_ABOUT[family]}; {more}" if more else _ABOUT[family]


FURTHER = tuple(_read(_TABLE))
"""All of them, by family, then by size."""
