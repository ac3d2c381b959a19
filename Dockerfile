# syntax=docker/dockerfile:1
# The first stage installs the locked packages, the second carries nothing but them, the code and its data files.

FROM python:3.13-slim-bookworm AS packages
COPY requirements.lock ./
RUN python -m venv /opt/packages \
 && /opt/packages/bin/pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: --requirement requirements.lock

FROM python:3.13-slim-bookworm
# A numeric user that exists: PostgreSQL, when it runs embedded, asks for its name.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data fhirserver \
 && install --directory --owner fhirserver --group fhirserver --mode 0700 /data
COPY --from=packages /opt/packages /opt/packages
COPY . /opt/fhirserver
RUN printf '#!/bin/sh\nexec /opt/packages/bin/python -m fhirserver "$@"\n' > /usr/local/bin/fhirserver \
 && chmod 0755 /usr/local/bin/fhirserver \
 && /opt/packages/bin/python -m compileall -q /opt/fhirserver/fhirserver
ENV PYTHONPATH=/opt/fhirserver \
    PYTHONUNBUFFERED=1 \
    FHIRSERVER_HOST=0.0.0.0 \
    FHIRSERVER_PORT=8080 \
    FHIRSERVER_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/opt/packages/bin/python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['FHIRSERVER_PORT'] + '/livez', timeout=4)"]
# People and apps sign in, as beyond loopback anywhere; whoever runs it may allow less: `serve --insecure`.
ENTRYPOINT ["fhirserver"]
CMD ["serve"]
