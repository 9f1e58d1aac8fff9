# Not built, since no container engine was at hand: on 2026-11-30 Docker's own parser read it. Its steps are those of launch/setup on Debian 12,
# which CI runs.
#   docker build -t spankey . && docker run --rm spankey --version
FROM debian:12
COPY . /opt/spankey
RUN apt-get update && cd /opt/spankey && launch/setup --no-tests --cpu \
 && .venv/bin/cmake --install build --prefix /usr/local && rm -rf build /var/lib/apt/lists/* /root/.cache
ENTRYPOINT ["/usr/local/bin/spankey"]
CMD ["--help"]
