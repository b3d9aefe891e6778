# Three images of one version: operator, simulator, learner. `make images` builds them all; one alone:
#
#   docker build --target simulator --tag stepstream/simulator:0.1.0 .
#
#   --build-arg BASE=image         a Python of 3.11 or newer on Debian, with venv
#   --build-arg TORCH_INDEX=url    a further index for torch, such as one of CPU wheels; by default torch brings CUDA
#   --build-context wheels=folder  wheels beside those of the index, or with --build-arg PIP_NO_INDEX=1 instead of them
#   --secret id=pip,src=file       a pip configuration, and
#   --secret id=ca,src=file        certificate authorities, for networks with an index or a proxy of their own
#
# What changes seldom comes first: after a change of the code alone, no package is installed again.
ARG BASE=python:3.11-slim-bookworm

# Replaced by --build-context wheels=folder.
FROM scratch AS wheels


# pip lives here, and is only ever mounted where something is installed.
FROM ${BASE} AS pip
RUN python3 -m venv /pip
COPY charts/images/install.sh /pip/


# The base without what only builds and package managers need, in one layer that all three images share.
FROM ${BASE} AS trimmed
COPY charts/images/trim.sh /trim.sh
RUN sh /trim.sh


FROM scratch AS runtime
COPY --from=trimmed / /
ENV PATH=/opt/stepstream/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /
RUN python3 -m venv --without-pip /opt/stepstream \
 && echo /opt/stepstream/code > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/stepstream.pth"


# The packages that each role needs, without our own code.
FROM pip AS requirements
COPY pyproject.toml constraints.txt charts/images/requirements.py /
RUN python3 /requirements.py /pyproject.toml /requirements && cp /constraints.txt /requirements


FROM pip AS code
ARG PIP_NO_INDEX=""
RUN --mount=type=secret,id=pip,target=/run/pip.conf --mount=type=secret,id=ca,target=/run/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    sh /pip/install.sh --environment /pip 'hatchling>=1.27,<2'
COPY pyproject.toml README.md LICENSE /source/
COPY protos /source/protos
COPY trainer /source/trainer
COPY operator /source/operator
RUN sh /pip/install.sh --environment /pip --no-deps --no-index --no-build-isolation --target /code /source && rm -rf /code/bin


FROM runtime AS operator-packages
ARG PIP_NO_INDEX=""
COPY --from=requirements /requirements /opt/stepstream/requirements
RUN --mount=type=secret,id=pip,target=/run/pip.conf --mount=type=secret,id=ca,target=/run/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=pip,source=/pip,target=/pip \
    sh /pip/install.sh --requirement /opt/stepstream/requirements/operator.txt


FROM runtime AS simulator-packages
ARG PIP_NO_INDEX=""
COPY --from=requirements /requirements /opt/stepstream/requirements
RUN --mount=type=secret,id=pip,target=/run/pip.conf --mount=type=secret,id=ca,target=/run/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=pip,source=/pip,target=/pip \
    sh /pip/install.sh --requirement /opt/stepstream/requirements/simulator.txt


# What learners need beside a simulator's packages, torch in a layer of its own: it is 5 GB with CUDA.
FROM simulator-packages AS learner-packages
ARG PIP_NO_INDEX=""
ARG TORCH_INDEX=""
RUN --mount=type=secret,id=pip,target=/run/pip.conf --mount=type=secret,id=ca,target=/run/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=pip,source=/pip,target=/pip \
    PIP_EXTRA_INDEX_URL=${TORCH_INDEX} sh /pip/install.sh --requirement /opt/stepstream/requirements/torch.txt
RUN --mount=type=secret,id=pip,target=/run/pip.conf --mount=type=secret,id=ca,target=/run/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=pip,source=/pip,target=/pip \
    PIP_EXTRA_INDEX_URL=${TORCH_INDEX} sh /pip/install.sh --requirement /opt/stepstream/requirements/learner.txt


FROM operator-packages AS operator
COPY --from=code /code /opt/stepstream/code
USER 65532:65532
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["python", "-m", "stepstream_operator"]
ARG VERSION="" REVISION=""
LABEL org.opencontainers.image.title="Stepstream operator" \
      org.opencontainers.image.description="Turns TrainingJobs into learner and simulator pods" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}


FROM simulator-packages AS simulator
# A stranger's handshake is no line of a log in JSON.
ENV GRPC_VERBOSITY=ERROR
COPY --from=code /code/stepstream_trainer /opt/stepstream/code/stepstream_trainer
COPY --from=code /code/stepstream_protos /opt/stepstream/code/stepstream_protos
USER 65532:65532
EXPOSE 9090
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9090/healthz', timeout=2)"]
CMD ["python", "-m", "stepstream_trainer.simulator"]
ARG VERSION="" REVISION=""
LABEL org.opencontainers.image.title="Stepstream simulator" \
      org.opencontainers.image.description="Steps environments for a learner" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}


FROM learner-packages AS learner
COPY --from=code /code/stepstream_trainer /opt/stepstream/code/stepstream_trainer
COPY --from=code /code/stepstream_protos /opt/stepstream/code/stepstream_protos
USER 65532:65532
EXPOSE 7070 7071 9090
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9090/healthz', timeout=2)"]
CMD ["python", "-m", "stepstream_trainer.learner"]
ARG VERSION="" REVISION=""
LABEL org.opencontainers.image.title="Stepstream learner" \
      org.opencontainers.image.description="Acts and learns for a TrainingJob's environments" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
