# The app for others. How to build and run it, alone or as several replicas: deploy/README.md
FROM python:3.12.12-slim-bookworm

# Index of PyTorch's builds for a CPU alone, as pytorch.org names it; without it the default build, which carries CUDA: 4 GB more.
ARG TORCH_CPU_INDEX=
WORKDIR /app
COPY requirements.txt ./
RUN if [ -n "$TORCH_CPU_INDEX" ]; then grep -E '^torch(vision)?==' requirements.txt > torch.txt \
      && pip install --no-cache-dir --no-deps --index-url "$TORCH_CPU_INDEX" -r torch.txt && rm torch.txt; fi \
 && pip install --no-cache-dir -r requirements.txt

COPY app.py ./
COPY .streamlit ./.streamlit
COPY assets ./assets
COPY checkpoints ./checkpoints
COPY ulsam_viz ./ulsam_viz
# The files belong to root: the app cannot change them. Hugging Face Spaces run a container as user 1000.
RUN python -m compileall -q ulsam_viz && useradd --uid 1000 --no-create-home app
USER 1000

# Nothing is written but matplotlib's list of fonts: the root file system may be read-only, with a /tmp in memory.
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ULSAM_VIZ_OWN_NETWORKS=0
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4).read()"]
CMD ["python", "-m", "ulsam_viz", "app", "--port=8501", "--server.address=0.0.0.0", "--server.headless=true"]
