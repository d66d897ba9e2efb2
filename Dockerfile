# The operator's image: locked dependencies, the three rooms of the product, nothing else, no root.
FROM docker.io/library/python:3.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libvirt-dev pkg-config
COPY requirements.lock /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock

FROM docker.io/library/python:3.11-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libvirt0 openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /var/lib/stratiform && chown 65532:65532 /var/lib/stratiform
COPY --from=build /venv /venv
COPY crds /app/crds
COPY drivers /app/drivers
COPY controllers /app/controllers
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["/venv/bin/python", "-m", "controllers"]
