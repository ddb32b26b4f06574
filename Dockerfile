# docker build -t chatcore . && docker run -p 127.0.0.1:8501:8501 -v chatcore:/app/data chatcore
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Fonts for exported PDFs: most scripts, Chinese, Japanese and Korean, emoji, code. ffmpeg for videos,
# bubblewrap for running code.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        bubblewrap ffmpeg fonts-dejavu-core fonts-noto-cjk fonts-noto-color-emoji fonts-noto-core \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin chatcore \
    && install --directory --owner=chatcore --mode=700 data

COPY requirements.lock .
RUN pip install --require-hashes -r requirements.lock

COPY .streamlit/config.toml .streamlit/
COPY chatcore chatcore
COPY pages pages
COPY app.py config.example.yaml ./
# The code belongs to root and the app may not write it, so its byte code is made here.
RUN python -m compileall -q chatcore pages app.py

USER chatcore
VOLUME /app/data
EXPOSE 8501

# SIGTERM drains: replies that are being written are finished, or kept as far as they got (CHATCORE_DRAIN_SECONDS).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; base = os.environ.get('STREAMLIT_SERVER_BASE_URL_PATH', '').strip('/'); \
server = http.client.HTTPConnection('127.0.0.1', 8501, timeout=4); \
server.request('GET', (base and '/' + base) + '/api/health'); sys.exit(server.getresponse().status != 200)"]

CMD ["streamlit", "run", "app.py", "--server.port=8501", "--server.address=0.0.0.0"]
