FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends make python3 python3-venv
WORKDIR /opt/mlaas
COPY . .
RUN make install cpp && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/mlaas/.venv/bin:$PATH TFAAS_HOST=0.0.0.0 TFAAS_DATA_DIR=/data
VOLUME /data
EXPOSE 8083
CMD ["tfaas", "serve"]
