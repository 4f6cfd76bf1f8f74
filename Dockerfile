# The service, without torch, for processors and for NVIDIA devices:
#
#   docker build --target cpu  --tag desed-task .
#   docker build --target cuda --tag desed-task:cuda .
#   docker run --read-only --tmpfs /tmp --publish 8000:8000 --volume "$PWD/bundles/yard:/bundle:ro" desed-task
#
# Settings are variables, DESED_TASK_SERVING_MAX_BATCH=32, or flags after the image's name (docs/serving.md).

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/service
ENV PATH=/opt/service/bin:$PATH
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY desed_task desed_task
COPY serving serving
RUN pip install --constraint constraints.txt ".[serve,trace]"

# Half of what is installed is onnxruntime's code for NVIDIA devices.
FROM build AS build-cpu
RUN find /opt/service -name "libonnxruntime_providers_cuda.so" -delete -o -name "libonnxruntime_providers_tensorrt.so" -delete

# CUDA and cuDNN as packages, of the versions that onnxruntime was built for: the host needs a driver and nothing else.
FROM build AS build-cuda
RUN pip install --constraint constraints.txt "onnxruntime-gpu[cuda,cudnn]"

FROM python:3.12-slim AS runtime
RUN useradd --system --uid 10001 --no-create-home service
ENV PATH=/opt/service/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV DESED_TASK_SERVING_BUNDLE=/bundle DESED_TASK_SERVING_HOST=0.0.0.0 DESED_TASK_SERVING_PORT=8000
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['DESED_TASK_SERVING_PORT'] + '/health/ready', timeout=4)"]
ENTRYPOINT ["desed-task", "serve"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/service /opt/service
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility DESED_TASK_SERVING_DEVICE=cuda:0

FROM runtime AS cpu
COPY --from=build-cpu /opt/service /opt/service
ENV DESED_TASK_SERVING_DEVICE=cpu
