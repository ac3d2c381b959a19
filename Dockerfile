# syntax=docker/dockerfile:1
# The first stage installs into a virtual environment, the second carries nothing but that and the interpreter.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/fhirserver
COPY requirements.lock ./
RUN /opt/fhirserver/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY . .
# The locked packages are in place; this adds the server itself and its data files.
RUN /opt/fhirserver/bin/pip install --no-deps .

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/fhirserver fhirserver \
 && install --directory --owner fhirserver --group fhirserver --mode 0700 /data
COPY --from=build /opt/fhirserver /opt/fhirserver
ENV PATH=/opt/fhirserver/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FHIRSERVER_HOST=0.0.0.0 \
    FHIRSERVER_PORT=8080 \
    FHIRSERVER_DATA_DIR=/data
USER fhirserver
WORKDIR /var/lib/fhirserver
VOLUME /data
EXPOSE 8080
# Longer than FHIRSERVER_SHUTDOWN_GRACE_S, which running requests have; give `docker stop` as much with -t.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"FHIRSERVER_PORT\"]}/livez', timeout=4)"]
# Listening beyond the container without sign-in is for the one who runs it to allow: add --insecure.
ENTRYPOINT ["fhirserver"]
CMD ["serve"]
