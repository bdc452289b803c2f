# A worker with a project's graphs. The project, a folder with a langgraph.json, is a build context of its own (its
# .dockerignore keeps .env and .venv out):
#   docker build -f deploy/worker.Dockerfile --build-context project=examples -t my-worker .
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/build.lock deploy/worker.lock deploy/
# Without pip: pip of the build installs into it.
RUN python -m venv --without-pip /opt/millstream \
    && pip install --require-hashes -r deploy/build.lock \
    && pip --python /opt/millstream/bin/python install --require-hashes -r deploy/worker.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY worker worker
COPY shared shared
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/millstream/bin/python install --no-deps --no-index /wheels/*.whl
# Further packages of the graphs. `pip check` fails the build if they changed a package of the worker to a version that
# it does not allow.
# hadolint ignore=DL3022
COPY --from=project . /project
RUN if [ -f /project/requirements.txt ]; then \
        pip --python /opt/millstream/bin/python install -r /project/requirements.txt; \
    fi \
    && pip --python /opt/millstream/bin/python check

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="millstream-worker" \
      org.opencontainers.image.description="A worker of Millstream with the graphs of one project" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can check that it is not root.
RUN useradd --system --no-log-init --uid 10001 --user-group --no-create-home millstream
COPY --from=build /opt/millstream /opt/millstream
COPY --from=build /project /project
# Nothing is written but /tmp: run it with a read-only root file system.
ENV PATH=/opt/millstream/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MILLSTREAM_ALIVE_FILE=/tmp/millstream-alive METRICS_PORT=9464
EXPOSE 9464
WORKDIR /project
USER 10001:10001
STOPSIGNAL SIGTERM
# The worker touches the file every 5 s. By the shell alone: a Python for each check would cost more than a worker at rest.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "test $(( $(date +%s) - $(stat -c %Y \"$MILLSTREAM_ALIVE_FILE\") )) -lt 60"]
CMD ["millstream", "worker", "--config", "langgraph.json"]
