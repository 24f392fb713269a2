# rvm-export on a CPU: docker build --tag rvm-export --build-arg EXTRAS=onnx .
# Then: docker run --rm --user "$(id -u)" --volume "$PWD:/data" rvm-export onnx --checkpoint rvm_mobilenetv3.pth

FROM python:3.12-slim-bookworm AS build
ARG EXTRAS=onnx
# The address of PyTorch's wheels for a CPU alone, which are far smaller, or none.
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_CONSTRAINT=/source/requirements.lock \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY rvm_model rvm_model
COPY exporters exporters
COPY parity_tests parity_tests
COPY tools tools
RUN python -m venv /opt/rvm-export && /opt/rvm-export/bin/pip install --no-cache-dir ".[$EXTRAS]"

FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 10001 matte
COPY --from=build /opt/rvm-export /opt/rvm-export
ENV PATH=/opt/rvm-export/bin:$PATH \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_STATE_HOME=/tmp/state
USER 10001
WORKDIR /data
ENTRYPOINT ["rvm-export"]
CMD ["--help"]
