# gpubench with its tests, for a machine with Docker and NVIDIA's container toolkit:
#   docker build -t gpubench .
#   docker run --gpus all --name bench gpubench            the main suite (`make run`)
#   docker cp bench:/home/bench/gpubench/reports .         its report
#   docker run --gpus all --rm gpubench make test          every check
# torch brings CUDA's libraries with it, so the smallest of the CUDA images is enough. The compiler and Python's headers
# are for torch.compile, git is for arms that are revisions.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04

# Not pinned: the archive keeps only the latest version of a package.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        build-essential ca-certificates git make python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 bench
USER 10001
WORKDIR /home/bench/gpubench
COPY --chown=bench:bench . .
RUN make .venv/.installed-test

CMD ["make", "run"]
