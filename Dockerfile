# One image for every service of docker-compose.yaml: the locked packages, and hrloop on top of them.
# hrloop is small and changes often, the packages are large and change seldom: hence the order.
FROM python:3.11.14-slim-bookworm

# A user without a password or a shell; its home is the one folder it may write to.
RUN useradd --system --uid 10001 --user-group --shell /usr/sbin/nologin \
        --home-dir /var/lib/hrloop --create-home hrloop

WORKDIR /opt/hrloop
COPY requirements.txt ./
# Wheels only: nothing is compiled, so the image needs no compiler.
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --require-hashes --only-binary :all: --requirement requirements.txt

COPY pyproject.toml ./
COPY plugins ./plugins
# Editable: the compose file mounts ./plugins here. setuptools is among the locked packages.
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --no-deps --no-build-isolation --editable .
COPY models ./models
COPY expectations ./expectations
COPY dbt ./dbt
COPY dags ./dags
COPY deploy ./deploy

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=true \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    GIT_PYTHON_REFRESH=quiet \
    HRLOOP_PROJECT=/opt/hrloop \
    HRLOOP_HOME=/var/lib/hrloop
USER hrloop
WORKDIR /var/lib/hrloop
CMD ["hrloop", "--help"]
