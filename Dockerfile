# greenbatch on a host with an NVIDIA GPU; the CUDA libraries come with the packages, the driver from the host.
#
#   docker build --tag greenbatch .
#   docker run --rm --gpus all --volume "$PWD/runs:/gb/runs" greenbatch bench --provider cuda
#
# NVML is read in the container. RAPL is not: mount it with --volume /sys/class/powercap:/sys/class/powercap:ro, and
# --volume /sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro, which Docker hides.
FROM python:3.12-slim

COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv
WORKDIR /source
COPY . .
ARG VERSION=0.1.0.dev0
RUN SETUPTOOLS_SCM_PRETEND_VERSION=${VERSION} \
    uv pip install --system --no-cache --constraint constraints.txt '.[bench]' \
    && rm -rf /source

WORKDIR /gb
ENTRYPOINT ["gb"]
CMD ["doctor"]
