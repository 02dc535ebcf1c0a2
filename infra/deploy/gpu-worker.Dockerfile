# A worker of the pool gpu, which starts vLLM by itself (backend "vllm"). vLLM stays in the Python of
# its own image and ours in /opt/arbitrage: their pins meet in few versions (docs/decisions/002).
#   docker build -f infra/deploy/gpu-worker.Dockerfile -t arbitrage-gpu-worker:local .
FROM vllm/vllm-openai:v0.33.0
USER 0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/arbitrage
WORKDIR /source
COPY requirements.lock ./
RUN /opt/arbitrage/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE CHANGELOG.md ./
COPY src src
COPY flows flows
COPY tasks tasks
COPY routers routers
COPY filters filters
COPY infra infra
RUN /opt/arbitrage/bin/pip install --no-deps --no-build-isolation . \
 && groupadd --gid 10001 arbitrage \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/arbitrage arbitrage
# Not before the PATH: `vllm` and its own Python keep their names, `prefect` is found in ours.
ENV PATH=$PATH:/opt/arbitrage/bin \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    ARBITRAGE_HOME=/var/lib/arbitrage \
    HF_HOME=/var/lib/arbitrage/huggingface \
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
HEALTHCHECK --interval=30s --timeout=6s --start-period=120s --retries=3 \
    CMD ["/opt/arbitrage/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
# The base image's entry point is vLLM's server.
ENTRYPOINT []
CMD ["/opt/arbitrage/bin/prefect", "worker", "start", "--pool", "gpu", "--with-healthcheck"]
