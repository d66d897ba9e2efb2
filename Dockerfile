# The operator's image: locked dependencies, the three rooms of the product, nothing else, no root.
FROM docker.io/library/python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libvirt-dev pkg-config
COPY requirements.lock /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock

FROM docker.io/library/python:3.11-slim-bookworm
# Debian 12's own libvirt client crashes (docs/decisions/0022): that of its backports.
RUN sed '/^$/,$d; s/^Suites:.*/Suites: bookworm-backports/' /etc/apt/sources.list.d/debian.sources \
      > /etc/apt/sources.list.d/backports.sources \
 && apt-get update \
 && apt-get install -y --no-install-recommends libvirt0/bookworm-backports libvirt-common/bookworm-backports \
      openssh-client \
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
