# SPDX-License-Identifier: MIT
"""The measured machines: QEMU's command line for one boot of a system, and the boot itself.

A *system* is one way for a guest to reach a network:

  native    Linux without Xen drives the card: the limit
  linux     Xen, and Linux as Dom0: Debian's kernel with its own xen-netback and bridge, Debian's toolstack
  dragoman  Xen, and Dragoman as Dom0

A *peer* is the other end of the traffic: "host", a process on the host through a virtio-net card and QEMU's user
network, or "guest", another guest of the same machine. Without a card virtual time need not follow the host's, so
the figures between guests do not depend on its load.

All have the same kernel, card and program (guest/programs/traffic.c).
"""

import contextlib
import os
import socket
import subprocess

import machine

SYSTEMS = ["native", "linux", "dragoman"]
PEERS = ["host", "guest"]
GUEST_MIB = 256
BOARD_MIB = 2048
PORT = 7071
HOST_ADDRESS = "10.0.2.2"  # of QEMU's user network
OWN_ADDRESS = "10.0.2.15/24"


class Boot:
    """One boot: the system, the peer, and the work (kind, bytes, count)."""

    def __init__(self, system, peer, work):
        self.system, self.peer, self.work = system, peer, work

    def name(self):
        return f"{self.system}-{self.peer}"


def guests(boot, port):
    """The words of each guest's kernel."""
    work = ",".join(":".join(str(word) for word in item) for item in boot.work)
    if boot.peer == "host":
        return [f"dragoman.address={OWN_ADDRESS} dragoman.other={HOST_ADDRESS}:{port} dragoman.work={work}"]
    return ["dragoman.address=10.9.0.1/24 dragoman.role=serve",
            f"dragoman.address=10.9.0.2/24 dragoman.other=10.9.0.1:{PORT} dragoman.start=6 dragoman.work={work}"]


def common(boot, directory, plugin):
    command = machine.board(BOARD_MIB, xen=boot.system != "native")
    command += machine.console_and_plugin(directory, plugin)
    if boot.peer == "guest":
        return command + ["-icount", "shift=1,sleep=off"]
    return command + ["-icount", "shift=0,sleep=on", "-netdev", "user,id=net",
                      "-device", "virtio-net-pci,netdev=net,romfile=,addr=1e"]


def native(boot, directory, port):
    kernel, _ = machine.guest_files()
    # The ramdisk with the card's driver.
    return common(boot, directory, "") + [
        "-kernel", kernel, "-initrd", f"{machine.ROOT}/build/bench/machine/dom0.cpio", "-append",
        f"console=ttyAMA0 quiet panic=-1 nokaslr dragoman.task=traffic {guests(boot, port)[0]}"]


def linux(boot, directory, port):
    words = " ".join(f"dragoman.guest{number}={text.replace(' ', '+')}" for number, text in enumerate(guests(boot, port), 1))
    return common(boot, directory, "") + machine.linux_dom0(
        f"dragoman.task=dom0-network dragoman.memory={GUEST_MIB} {words}", machine.xen_words("512M"))


def dragoman(boot, directory, port, image, functions):
    kernel, ramdisk = machine.guest_files()
    configurations = {
        f"guest{number}": f'name = "guest{number}"\nkernel = "{kernel}"\nramdisk = "{ramdisk}"\n'
                          f"memory = {GUEST_MIB}\nvcpus = 1\n"
                          f'cmdline = "console=ttyAMA0 quiet panic=-1 nokaslr dragoman.task=traffic {words}"\n'
                          f"vif = [ 'bridge=xenbr0' ]\n"
        for number, words in enumerate(guests(boot, port), 1)}
    return (common(boot, directory, machine.plugin_for(image, functions))
            + machine.dragoman(directory, machine.board(BOARD_MIB), image, configurations, machine.xen_words("16M")))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def peer_on_host(boot):
    """The other end on the host, where the boot needs one, and its port."""
    port = free_port()
    if boot.peer != "host":
        yield port
        return
    with subprocess.Popen([f"{machine.ROOT}/build/bench/net/traffic", "serve", str(port)]) as process:
        try:
            yield port
        finally:
            process.kill()


def measure(boot, directory, image):
    """Boots the machine; for each item of its work the figures of account.per_operation()."""
    os.makedirs(directory, exist_ok=True)
    functions = machine.functions_of(image) if boot.system == "dragoman" else None
    with peer_on_host(boot) as port:
        if boot.system == "dragoman":
            command = dragoman(boot, directory, port, image, functions)
        else:
            command = {"native": native, "linux": linux}[boot.system](boot, directory, port)
        figures, _ = machine.run(boot.name(), directory, command, len(boot.work), functions,
                                 "- module xen" if boot.system == "native" else "$^")
    return figures
