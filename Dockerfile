# Gavel on a CPU, with its small critic inside: `docker build -t gavel .`
# It serves others, and so wants keys: `docker run -p 8080:8080 -v ./keys.toml:/keys.toml:ro -e GAVEL_KEYS_FILE=/keys.toml gavel`,
# or the word that it goes without: `docker run -p 127.0.0.1:8080:8080 -e GAVEL_INSECURE_NO_AUTH=true gavel`.
# It writes nothing outside of /cache: add `--read-only -v models:/cache`.

FROM rust:1.95.0-slim-bookworm AS skeleton
WORKDIR /src
COPY . .
# Only manifests and the names of source files are kept. The next stage copies the outcome, which is the same as long
# as no manifest changes and no file comes or goes, so that its layer of compiled dependencies stays valid.
RUN find . -type f ! -name '*.rs' ! -name Cargo.toml ! -name Cargo.lock ! -name rust-toolchain.toml ! -path './.cargo/*' -delete \
    && find . -name '*.rs' -exec sh -c 'for file; do echo "fn main() { }" > "$file"; done' sh {} + \
    && find . -type d -empty -delete

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# What the allocator is built by.
RUN apt-get update && apt-get install -y --no-install-recommends make=4.3-4.1 && rm -rf /var/lib/apt/lists/*
# The image's own toolchain is the one of rust-toolchain.toml; its components for developers are not needed here.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY --from=skeleton /src .
RUN cargo build --release --locked
COPY . .
# What /metrics tells of the build: `--build-arg GAVEL_GIT=$(git rev-parse --short HEAD)`.
ARG GAVEL_GIT=unknown
# Cargo compares times, and the sources are older than what was just built from the skeleton.
RUN find . -name '*.rs' -exec touch {} + && GAVEL_GIT=$GAVEL_GIT cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gavel && mkdir /cache && chown gavel /cache
COPY --from=build /src/target/release/gavel /usr/local/bin/gavel
# By its number, so that Kubernetes can see that it is not root.
USER 10001
# Models from the hub are kept in /cache; give it a volume to keep them longer than the container.
ENV GAVEL_HOST=0.0.0.0 GAVEL_PORT=8080 HF_HUB_CACHE=/cache
EXPOSE 8080
# It lives while a large critic is downloaded and loaded; whether it takes requests, /readyz says.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["gavel", "probe", "--path", "/livez"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["gavel"]
CMD ["serve"]
