# SEAR on CPU, as an ordinary user. Built and run as docs/recipes.md says.
FROM python:3.12-slim

ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 1000 sear
WORKDIR /home/sear/project

# Packages come before the sources, so that a change of the code does not install them again.
COPY requirements.txt ./
RUN pip install -r requirements.txt && pip install --no-deps recbole==1.2.1

# The user owns the project: compiled kernels, data and results are written into it.
RUN chown sear:sear .
USER 1000
COPY --chown=sear:sear . .
RUN mkdir -p results

ENTRYPOINT ["python", "custom_trainer.py"]
