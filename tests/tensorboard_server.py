"""A TensorBoard that has read a folder of logs."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from conftest import BLOCKED


@contextlib.contextmanager
def tensorboard(folder, output, environment, plugin, run):
    """Serve a folder, and give the address when the data of a plugin for a run are there.

    Args:
        folder: of the logs.
        output: file for what TensorBoard prints.
        environment: of its process.
        plugin: such as "scalars".
        run: name of a run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys\n" + ("sys.modules['tensorflow'] = None\n" if BLOCKED else "")
    code += "sys.argv[0] = 'tensorboard'\nfrom tensorboard.main import run_main\nrun_main()"
    options = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port), "--load_fast=false"]
    with output.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-c", code, *options], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/{plugin}/tags", timeout=10) as answer:
                    if json.load(answer).get(run):
                        break
            except urllib.error.URLError:
                pass
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


# All that is written on the page, through the shadow roots of TensorBoard's components.
VISIBLE_TEXT = """
function text(node) {
    if (node.nodeType === Node.TEXT_NODE) return node.data + ' ';
    if (node.nodeType === Node.ELEMENT_NODE) {
        const style = getComputedStyle(node);
        if (style.display === 'none' || style.visibility === 'hidden') return '';
        if (['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(node.tagName)) return '';
    }
    const inner = node.shadowRoot ? [node.shadowRoot]
        : node.tagName === 'SLOT' ? node.assignedNodes() : node.childNodes;
    return Array.from(inner, text).join('');
}
return text(document.body);
"""
