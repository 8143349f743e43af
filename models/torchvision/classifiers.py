"""The classifiers of torchvision: a literal table, read without importing torchvision.

A test holds every figure to the installed torchvision's own (the weights' ``meta`` and
``transforms()``).
"""

from collections.abc import Iterator
from dataclasses import replace

from greenbatch.models.spec import InputSpec, ModelSpec

# A line without indent is a family and its year; below it, by size: name, parameters, multiply-adds
# of an image in 1e9, top-1 in percent, resize, crop, interpolation, checkpoint.
#
# The year is that of the first publication (the variants of VGG with batch normalisation count as
# VGG); that of densenet is its conference's, as in studies before this one.
_TABLE = """
alexnet 2012
  alexnet            61100840   0.714 56.522 256 224 bilinear alexnet-owt-7be5be79.pth
convnext 2022
  convnext_tiny      28589128   4.456 82.520 236 224 bilinear convnext_tiny-983f1562.pth
  convnext_small     50223688   8.684 83.616 230 224 bilinear convnext_small-0c510722.pth
  convnext_base      88591464  15.355 84.062 232 224 bilinear convnext_base-6075fbad.pth
  convnext_large    197767336  34.361 84.414 232 224 bilinear convnext_large-ea097f82.pth
densenet 2017
  densenet121         7978856   2.834 74.434 256 224 bilinear densenet121-a639ec97.pth
  densenet169        14149480   3.360 75.600 256 224 bilinear densenet169-b2777c0a.pth
  densenet201        20013928   4.291 76.896 256 224 bilinear densenet201-c1103571.pth
  densenet161        28681000   7.728 77.138 256 224 bilinear densenet161-8d451a50.pth
efficientnet 2019
  efficientnet_b0     5288548   0.386 77.692 256 224 bicubic  efficientnet_b0_rwightman-7f5810bc.pth
  efficientnet_b1     7794184   0.687 78.642 256 240 bicubic  efficientnet_b1_rwightman-bac287d4.pth
  efficientnet_b2     9109994   1.088 80.608 288 288 bicubic  efficientnet_b2_rwightman-c35c1473.pth
  efficientnet_b3    12233232   1.827 82.008 320 300 bicubic  efficientnet_b3_rwightman-b3899882.pth
  efficientnet_b4    19341616   4.394 83.384 384 380 bicubic  efficientnet_b4_rwightman-23ab8bcd.pth
  efficientnet_b5    30389784  10.266 83.444 456 456 bicubic  efficientnet_b5_lukemelas-1a07897c.pth
  efficientnet_b6    43040704  19.068 84.008 528 528 bicubic  efficientnet_b6_lukemelas-24a108a5.pth
  efficientnet_b7    66347960  37.746 84.122 600 600 bicubic  efficientnet_b7_lukemelas-c5b4e57e.pth
efficientnet_v2 2021
  efficientnet_v2_s  21458488   8.366 84.228 384 384 bilinear efficientnet_v2_s-dd5fe13b.pth
  efficientnet_v2_m  54139356  24.582 85.112 480 480 bilinear efficientnet_v2_m-dc08266a.pth
  efficientnet_v2_l 118515272  56.080 85.808 480 480 bicubic  efficientnet_v2_l-59c71312.pth
googlenet 2014
  googlenet           6624904   1.498 69.778 256 224 bilinear googlenet-1378be20.pth
inception 2015
  inception_v3       23834568   5.713 77.294 342 299 bilinear inception_v3_google-0cc3c7bd.pth
maxvit 2022
  maxvit_t           30919624   5.558 83.700 224 224 bicubic  maxvit_t-bc5ab103.pth
mnasnet 2018
  mnasnet0_5          2218512   0.104 67.734 256 224 bilinear mnasnet0.5_top1_67.823-3ffadce67e.pth
  mnasnet0_75         3170208   0.215 71.180 232 224 bilinear mnasnet0_75-7090bc5f.pth
  mnasnet1_0          4383312   0.314 73.456 256 224 bilinear mnasnet1.0_top1_73.512-f206786ef8.pth
  mnasnet1_3          6282256   0.526 76.506 232 224 bilinear mnasnet1_3-a4c69d6f.pth
mobilenet_v2 2018
  mobilenet_v2        3504872   0.301 71.878 256 224 bilinear mobilenet_v2-b0353104.pth
mobilenet_v3 2019
  mobilenet_v3_small  2542856   0.057 67.668 256 224 bilinear mobilenet_v3_small-047dcff4.pth
  mobilenet_v3_large  5483032   0.217 74.042 256 224 bilinear mobilenet_v3_large-8738ca79.pth
regnet 2020
  regnet_y_400mf      4344144   0.402 74.046 256 224 bilinear regnet_y_400mf-c65dace8.pth
  regnet_x_400mf      5495976   0.414 72.834 256 224 bilinear regnet_x_400mf-adf1edd5.pth
  regnet_y_800mf      6432512   0.834 76.420 256 224 bilinear regnet_y_800mf-1b27b58c.pth
  regnet_x_800mf      7259656   0.800 75.212 256 224 bilinear regnet_x_800mf-ad17e45c.pth
  regnet_x_1_6gf      9190136   1.603 77.040 256 224 bilinear regnet_x_1_6gf-e3633e7f.pth
  regnet_y_1_6gf     11202430   1.612 77.950 256 224 bilinear regnet_y_1_6gf-b11a554e.pth
  regnet_x_3_2gf     15296552   3.177 78.364 256 224 bilinear regnet_x_3_2gf-f342aeae.pth
  regnet_y_3_2gf     19436338   3.176 78.948 256 224 bilinear regnet_y_3_2gf-b5a9779c.pth
  regnet_y_8gf       39381472   8.473 80.032 256 224 bilinear regnet_y_8gf-d0d0e4a8.pth
  regnet_x_8gf       39572648   7.995 79.344 256 224 bilinear regnet_x_8gf-03ceed89.pth
  regnet_x_16gf      54278536  15.941 80.058 256 224 bilinear regnet_x_16gf-2007eb11.pth
  regnet_y_16gf      83590140  15.912 80.424 256 224 bilinear regnet_y_16gf-9e6ed7dd.pth
  regnet_x_32gf     107811560  31.736 80.622 256 224 bilinear regnet_x_32gf-9d47f8d0.pth
  regnet_y_32gf     145046770  32.280 80.878 256 224 bilinear regnet_y_32gf-4dee3f7a.pth
  regnet_y_128gf    644812894 127.518 86.068 224 224 bicubic  regnet_y_128gf_lc_swag-cbe8ce12.pth
resnet 2015
  resnet18           11689512   1.814 69.758 256 224 bilinear resnet18-f37072fd.pth
  resnet34           21797672   3.664 73.314 256 224 bilinear resnet34-b627a593.pth
  resnet50           25557032   4.089 76.130 256 224 bilinear resnet50-0676ba61.pth
  resnet101          44549160   7.801 77.374 256 224 bilinear resnet101-63fe2227.pth
  resnet152          60192808  11.514 78.312 256 224 bilinear resnet152-394f9c45.pth
resnext 2016
  resnext50_32x4d    25028904   4.230 77.618 256 224 bilinear resnext50_32x4d-7cdf4587.pth
  resnext101_64x4d   83455272  15.460 83.246 232 224 bilinear resnext101_64x4d-173b62eb.pth
  resnext101_32x8d   88791336  16.414 79.312 256 224 bilinear resnext101_32x8d-8ba56ff5.pth
shufflenet_v2 2018
  shufflenet_v2_x0_5  1366792   0.040 60.552 256 224 bilinear shufflenetv2_x0.5-f707e7126e.pth
  shufflenet_v2_x1_0  2278604   0.145 69.362 256 224 bilinear shufflenetv2_x1-5666bf0f80.pth
  shufflenet_v2_x1_5  3503624   0.296 72.996 232 224 bilinear shufflenetv2_x1_5-3c479a10.pth
  shufflenet_v2_x2_0  7393996   0.583 76.230 232 224 bilinear shufflenetv2_x2_0-8be3c8ee.pth
squeezenet 2016
  squeezenet1_1       1235496   0.349 58.178 256 224 bilinear squeezenet1_1-b8a52dc0.pth
  squeezenet1_0       1248424   0.819 58.092 256 224 bilinear squeezenet1_0-b66bff10.pth
swin 2021
  swin_t             28288354   4.491 81.474 232 224 bicubic  swin_t-704ceda3.pth
  swin_s             49606258   8.741 83.196 246 224 bicubic  swin_s-5e29d889.pth
  swin_b             87768224  15.431 83.582 238 224 bicubic  swin_b-68c6b09e.pth
swin_v2 2021
  swin_v2_t          28351570   5.940 82.072 260 256 bicubic  swin_v2_t-b137f0e2.pth
  swin_v2_s          49737442  11.546 83.712 260 256 bicubic  swin_v2_s-637d8ceb.pth
  swin_v2_b          87930848  20.325 84.112 272 256 bicubic  swin_v2_b-781e5279.pth
vgg 2014
  vgg11             132863336   7.609 69.020 256 224 bilinear vgg11-8a719046.pth
  vgg11_bn          132868840   7.609 70.370 256 224 bilinear vgg11_bn-6002323d.pth
  vgg13             133047848  11.308 69.928 256 224 bilinear vgg13-19584684.pth
  vgg13_bn          133053736  11.308 71.586 256 224 bilinear vgg13_bn-abd245e5.pth
  vgg16             138357544  15.470 71.592 256 224 bilinear vgg16-397923af.pth
  vgg16_bn          138365992  15.470 73.360 256 224 bilinear vgg16_bn-6c64b313.pth
  vgg19             143667240  19.632 72.376 256 224 bilinear vgg19-dcbb9e9d.pth
  vgg19_bn          143678248  19.632 74.218 256 224 bilinear vgg19_bn-c79401a0.pth
vit 2020
  vit_b_16           86567656  17.564 81.072 256 224 bilinear vit_b_16-c867db91.pth
  vit_b_32           88224232   4.409 75.912 256 224 bilinear vit_b_32-d86f8d99.pth
  vit_l_16          304326632  61.555 79.662 242 224 bilinear vit_l_16-852ce7e3.pth
  vit_l_32          306535400  15.378 76.972 256 224 bilinear vit_l_32-c7638314.pth
  vit_h_14          632045800 167.295 85.708 224 224 bicubic  vit_h_14_lc_swag-c1eb923e.pth
wide_resnet 2016
  wide_resnet50_2    68883240  11.398 78.468 256 224 bilinear wide_resnet50_2-95faca4d.pth
  wide_resnet101_2  126886696  22.753 78.848 256 224 bilinear wide_resnet101_2-32ee1156.pth
"""

_SWAG = "IMAGENET1K_SWAG_LINEAR_V1"  # of those with a frozen trunk: at the network's own input size
_WEIGHTS = {"regnet_y_128gf": _SWAG, "vit_h_14": _SWAG}
_YEARS = {"regnet_y_128gf": 2021}  # Goyal et al. 2021; the others of its family in 2020
_STATISTICS = {"efficientnet_v2_l": (0.5, 0.5, 0.5)}  # both mean and standard deviation
_TRAINING_ONLY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


def _read(table: str) -> Iterator[ModelSpec]:
    family, year = "", ""
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            family, year = line.split()
            continue
        name, parameters, flops, top1, resize, crop, interpolation, checkpoint = line.split()
        image = InputSpec(
            shape=(3, int(crop), int(crop)),
            resize=int(resize),
            crop=int(crop),
            interpolation=interpolation,
        )
        if name in _STATISTICS:
            image = replace(image, mean=_STATISTICS[name], std=_STATISTICS[name])
        yield ModelSpec(
            name=name,
            family=family,
            year=_YEARS.get(name, int(year)),
            parameters=int(parameters),
            flops=float(f"{flops}e9"),
            top1=float(top1),
            checkpoint=checkpoint,
            weights=_WEIGHTS.get(name, "IMAGENET1K_V1"),
            training_only=_TRAINING_ONLY.get(name, ()),
            input=image,
        )


MODELS = tuple(_read(_TABLE))
"""All of them, by family, then by size."""
