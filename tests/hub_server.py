"""A stand-in of the Hugging Face Hub: the part of its HTTP API that downloads use, on 127.0.0.1."""

import contextlib
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator, Mapping

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@contextlib.contextmanager
def serve(files: Mapping[tuple[str, str], bytes], log: list[str]) -> Iterator[str]:
    """Serves files and yields the server's address.

    Args:
      files: (name of a branch or tag in `COMMITS`, name of a file) -> its content, of the repository user/model.
      log: gets "GET FILE" for each file that is sent.
    """
    revisions = {**COMMITS, **{commit: commit for commit in COMMITS.values()}}
    by_commit = {(COMMITS[revision], name): content for (revision, name), content in files.items()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(send=False)

        def do_GET(self):
            self.answer(send=True)

        def answer(self, send: bool):
            match = re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/([\w.]+)", self.path.partition("?")[0])
            if not match or match[1] != "user/model":
                return self.refuse("RepoNotFound")
            if (commit := revisions.get(match[2])) is None:
                return self.refuse("RevisionNotFound")
            if (content := by_commit.get((commit, match[3]))) is None:
                return self.refuse("EntryNotFound", commit)
            self.send_response(200)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if send:
                log.append(f"GET {match[3]}")
                self.wfile.write(content)

        def refuse(self, code: str, commit: str | None = None):
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
