# A server for one model directory. Build once, mount or copy the model:
#
#   docker build -t runner .
#   docker run --rm -p 8000:8000 -v "$PWD/examples/models/hello:/model:ro" runner
#
# With a GPU add `--gpus all`. A model's own requirements belong into an image of its own:
#
#   FROM runner
#   COPY my-model /model
#   RUN pip install -c /opt/runner/constraints.txt -r /model/requirements.txt
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /opt/runner

# torch before the sources: it is most of the image and changes least
COPY constraints.txt ./
RUN pip install -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY runner ./runner
RUN pip install -c constraints.txt .

RUN useradd --create-home --uid 10001 runner
USER runner
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["runner", "serve"]
CMD ["/model", "--host", "0.0.0.0", "--port", "8000"]
