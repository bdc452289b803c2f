# The API: HTTP in, events out. The image has no LangGraph and no graphs.
#   docker build -f deploy/api.Dockerfile -t millstream-api .
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/build.lock deploy/api.lock deploy/
RUN python -m venv /opt/millstream \
    && pip install --require-hashes -r deploy/build.lock \
    && /opt/millstream/bin/pip install --require-hashes -r deploy/api.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY worker worker
COPY shared shared
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/millstream/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home millstream
COPY --from=build /opt/millstream /opt/millstream
ENV PATH=/opt/millstream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 2024
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:2024/ok', timeout=2)"]
CMD ["millstream", "api", "--host", "0.0.0.0", "--port", "2024"]
