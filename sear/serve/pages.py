"""The page at / and the description at /docs: a few files of the package, nothing from the network."""

from importlib.resources import files

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def page_routes() -> APIRouter:
    router = APIRouter()
    content = {
        file.name: (file.read_bytes(), KINDS[file.name.rpartition(".")[2]])
        for file in files("sear.serve").joinpath("page").iterdir()
        if file.name.rpartition(".")[2] in KINDS
    }

    def answer(name: str) -> Response:
        if name not in content:
            raise HTTPException(404, f"page: there is no file {name!r} - the page is at /")
        data, kind = content[name]
        return Response(data, media_type=f"{kind}; charset=utf-8", headers={"cache-control": "no-cache"})

    @router.get("/")
    async def page() -> Response:
        return answer("index.html")

    @router.get("/docs")
    async def docs() -> Response:
        return answer("docs.html")

    @router.get("/page/{name}")
    async def file(name: str) -> Response:
        return answer(name)

    return router
