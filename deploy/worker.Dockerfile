# A worker with a project's graphs. The project, a folder with a langgraph.json, is a build context of
# its own (its .dockerignore keeps .env and .venv out):
#   docker build -f deploy/worker.Dockerfile --build-context project=examples -t my-worker .
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/build.lock deploy/worker.lock deploy/
RUN python -m venv /opt/millstream \
    && pip install --require-hashes -r deploy/build.lock \
    && /opt/millstream/bin/pip install --require-hashes -r deploy/worker.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY worker worker
COPY shared shared
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/millstream/bin/pip install --no-deps --no-index /wheels/*.whl
# Further packages of the graphs. `pip check` fails the build if they changed a package of the worker
# to a version that it does not allow.
COPY --from=project . /project
RUN if [ -f /project/requirements.txt ]; then \
        /opt/millstream/bin/pip install -r /project/requirements.txt; \
    fi \
    && /opt/millstream/bin/pip check

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home millstream
COPY --from=build /opt/millstream /opt/millstream
COPY --from=build /project /project
ENV PATH=/opt/millstream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /project
USER 10001
# The container runtime watches the process itself; this checks that it can reach its Redis.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, redis; redis.Redis.from_url(os.environ['REDIS_URL'], socket_timeout=3).ping()"]
CMD ["millstream", "worker", "--config", "langgraph.json"]
