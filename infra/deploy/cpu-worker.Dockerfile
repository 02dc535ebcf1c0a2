# A worker of the pool cpu: routes, asks teachers over HTTP, scores, decides. From the root of the
# repository:
#   docker build -f infra/deploy/cpu-worker.Dockerfile -t arbitrage-cpu-worker:local .
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/arbitrage
WORKDIR /source
# The lock alone first: what is installed from it stays cached while our own code changes. All of it
# has wheels, so no compiler is here; --no-deps, because a lock is all there is.
COPY requirements.lock ./
RUN /opt/arbitrage/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE CHANGELOG.md ./
COPY src src
COPY flows flows
COPY tasks tasks
COPY routers routers
COPY filters filters
COPY infra infra
# hatchling is in the lock: nothing is fetched to build ours.
RUN /opt/arbitrage/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 arbitrage \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/arbitrage arbitrage
COPY --from=build /opt/arbitrage /opt/arbitrage
COPY infra/deploy/deployments.yaml /etc/arbitrage/deployments.yaml
COPY examples/quickstart/prompts.parquet /usr/share/arbitrage/prompts.parquet
ENV PATH=/opt/arbitrage/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    ARBITRAGE_HOME=/var/lib/arbitrage \
    PREFECT_HOME=/var/lib/arbitrage/.prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_LOGGING_EXTRA_LOGGERS=arbitrage \
    PREFECT_CLIENT_MAX_RETRIES=7 \
    PREFECT_CLIENT_RETRY_EXTRA_CODES=500 \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 \
    PREFECT_WORKER_WEBSERVER_HOST=0.0.0.0 \
    PREFECT_WORKER_WEBSERVER_PORT=8080
USER 10001:10001
WORKDIR /var/lib/arbitrage
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=6s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
CMD ["prefect", "worker", "start", "--pool", "cpu", "--with-healthcheck"]
