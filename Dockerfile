# One image for every service of docker-compose.yaml: the locked packages, and hrloop on top of them.
# hrloop itself is small and changes often, the packages are large and change seldom: hence the order.

FROM python:3.11.14-slim-bookworm AS packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt

FROM python:3.11.14-slim-bookworm
# A user without a name on the host, a shell or a password; its home is the one folder it may write to.
RUN useradd --system --uid 10001 --user-group --shell /usr/sbin/nologin \
        --home-dir /var/lib/hrloop --create-home hrloop \
    && install --directory --owner hrloop --group hrloop --mode 0750 /var/lib/hrloop/artifacts
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=true \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    GIT_PYTHON_REFRESH=quiet \
    HRLOOP_PROJECT=/opt/hrloop \
    HRLOOP_HOME=/var/lib/hrloop
WORKDIR /opt/hrloop
COPY pyproject.toml ./
COPY plugins ./plugins
# Editable: the compose file mounts ./plugins here. setuptools is among the locked packages.
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable .
COPY models ./models
COPY expectations ./expectations
COPY dbt ./dbt
COPY dags ./dags
COPY deploy ./deploy
USER hrloop
WORKDIR /var/lib/hrloop
CMD ["hrloop", "--help"]
