# The API: HTTP in, events out. The image has the locked packages alone: no LangGraph, no graphs, no compiler.
#   docker build -f deploy/api.Dockerfile -t millstream-api .
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/build.lock deploy/api.lock deploy/
# Without pip: pip of the build installs into it.
RUN python -m venv --without-pip /opt/millstream \
    && pip install --require-hashes -r deploy/build.lock \
    && pip --python /opt/millstream/bin/python install --require-hashes -r deploy/api.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY worker worker
COPY shared shared
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/millstream/bin/python install --no-deps --no-index /wheels/*.whl

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="millstream-api" \
      org.opencontainers.image.description="The API of Millstream, a run server for LangGraph graphs on Redis" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can check that it is not root.
RUN useradd --system --no-log-init --uid 10001 --user-group --no-create-home millstream
COPY --from=build /opt/millstream /opt/millstream
# Nothing is written but /tmp: run it with a read-only root file system.
ENV PATH=/opt/millstream/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# It listens on all addresses, so clients need a key: millstream keys create (docs/auth.md).
ENV AUTH_TYPE=api_key
USER 10001:10001
EXPOSE 2024
STOPSIGNAL SIGTERM
# By the shell alone: a Python for each check would cost more than the API at rest.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2024 && printf 'GET /ok HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && test \"$status\" = 200"]
CMD ["millstream", "api", "--host", "0.0.0.0", "--port", "2024"]
