"""Headless Chromium, driven through a pipe (Chrome DevTools Protocol): no driver, no network."""

import json
import os
import select
import subprocess
import sys
import time

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--mute-audio", "--disable-extensions", "--disable-background-networking",
    "--remote-debugging-pipe", "--hide-scrollbars",
)  # fmt: skip
KEYS = {
    " ": ("Space", 32), "Enter": ("Enter", 13), "Escape": ("Escape", 27), "ArrowLeft": ("ArrowLeft", 37),
    "ArrowUp": ("ArrowUp", 38), "ArrowRight": ("ArrowRight", 39), "ArrowDown": ("ArrowDown", 40),
}  # fmt: skip


# The browser reads its file 3 and writes its file 4.
SHIM = """import fcntl, os, sys
ends = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execvp(sys.argv[3], sys.argv[3:])"""


class Browser:
    """A browser with one tab."""

    def __init__(self, program, folder, size=(1280, 1000)):
        (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
        command = [sys.executable, "-S", "-c", SHIM, str(theirs_in), str(theirs_out), program, *FLAGS]
        command.append(f"--user-data-dir={folder}/profile")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), **quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self.reads, self.writes, self.rest, self.count, self.session = ours_in, ours_out, b"", 0, None
        self.errors, self.folder = [], folder
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.size(*size)

    def call(self, method, **params):
        """One command's answer; console messages meanwhile are recorded."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        session = {"sessionId": self.session} if self.session else {}
        os.write(self.writes, json.dumps(message | session).encode() + b"\0")
        end = time.monotonic() + 90
        while True:
            answer = self.next(end - time.monotonic())
            if answer.get("id") == self.count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.handle(answer)

    def next(self, wait):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reads], [], [], max(wait, 0))
            assert ready, "the browser does not answer"
            data = os.read(self.reads, 2**16)
            assert data, "the browser has gone"
            self.rest += data
        first, _, self.rest = self.rest.partition(b"\0")
        return json.loads(first)

    def handle(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.errors.append(params["args"])
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"])

    def size(self, width, height, mobile=False, dark=False):
        """The window's size, and whether it is a phone's or in the dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def open(self, path):
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete'")

    def js(self, code):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, code, seconds=45):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not (value := self.js(code)):
            assert time.monotonic() < end, f"waited for {code}"
            time.sleep(0.03)
        return value

    def mouse(self, kind, place, buttons=0):
        x, y = place
        button = "left" if kind != "mouseMoved" else "none"
        options = {"button": button, "buttons": buttons, "clickCount": int(kind != "mouseMoved")}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    def click(self, place):
        self.drag(place)

    def drag(self, *places):
        """Press at the first place, walk through the others, let go at the last."""
        self.mouse("mouseMoved", places[0])
        self.mouse("mousePressed", places[0], 1)
        for place in places[1:]:
            self.mouse("mouseMoved", place, 1)
        self.mouse("mouseReleased", places[-1])

    def touch(self, *places):
        """A finger put down, moved, lifted."""
        for n, (x, y) in enumerate(places):
            kind = "touchMove" if n else "touchStart"
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key):
        code, number = KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0])))
        options = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **options, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **options)

    def middle(self, selector):
        """The middle of an element, scrolled to."""
        position = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "if (!e) return null; e.scrollIntoView({ block: 'center' }); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        assert position, f"there is no {selector}"
        return position

    def file(self, name, seconds=30):
        """What was downloaded under a name."""
        path, end = self.folder / name, time.monotonic() + seconds
        # The browser reserves the name with an empty file, and moves the finished one there.
        while not path.exists() or not path.stat().st_size or any(self.folder.glob("*.crdownload")):
            self.js("1")
            assert time.monotonic() < end, f"no {name} among {os.listdir(self.folder)}"
            time.sleep(0.05)
        return path.read_bytes()

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.reads)
        os.close(self.writes)
