"""What drivers make of their mappings: the vm_flags that they set and the VM_MAY* that they take.

A trace states it (``vmflags:`` of its files, which ``record`` reads from smaps); for logs, which
know no more than a path, the well-known devices are here. Source: smaps of 6.18 where a driver was
at hand ([io_uring], [perf_event], bpf-map, sockets with a ring, kvm-vcpu, btf), else the driver's
mmap hook. A driver may differ in a flag; that such a mapping never merges holds for all.
"""

from __future__ import annotations

import re
from typing import Final

#: remap_pfn_range() without and with execution (SB_I_NOEXEC of anonymous inodes).
_DEVICE: Final = ("mr", "mw", "me", "pf", "io", "de", "dd")
_WELL_KNOWN: Final = tuple(
    (re.compile(pattern), tuple(codes) if not isinstance(codes, str) else tuple(codes.split()))
    for pattern, codes in (
        # drm_gem_mmap_obj(), ttm_bo_mmap_obj(), i915_gem_mmap()
        (r"/dev/dri/", _DEVICE),
        # uvm_mmap(); nvidia_mmap_helper()
        (r"/dev/nvidia-uvm", "mr mw me de mm"),
        (r"/dev/nvidia", _DEVICE),
        (r"/dev/kfd\Z", "mr mw me pf io dc de dd"),  # kfd_doorbell_mmap()
        (r"/dev/(?:mem|hpet\d*|fb\d+|uio\d+|port)\Z", _DEVICE),
        (r"/dev/(?:vfio|infiniband)/", _DEVICE),  # vfio_pci_core_mmap(), rdma_user_mmap_io()
        (r"anon_inode:\[vfio-device\]", _DEVICE),
        (r"/dev/video\d+\Z", "mr mw me de dd mm"),  # vb2_vmalloc_mmap()
        (r"/dev/snd/", "mr mw me de dd"),  # snd_pcm_mmap_data()
        (r"/dev/dax\d", "mr mw me mm hg"),  # dax_mmap()
        (r"/dev/binder", "mr me dc mm"),  # binder_mmap()
        (r"/dmabuf:", "mr mw me pf de dd"),  # mmap_udmabuf()
        (r"/sys/(?:bus|devices|class)/.*/resource\d+(?:_wc)?\Z", _DEVICE),  # pci_mmap_resource()
        (r"/proc/bus/pci/", _DEVICE),
        (r"/sys/kernel/btf/", "mr pf io de dd"),  # btf_sysfs_vmlinux_mmap()
        (r"anon_inode:\[io_uring\]", "mr mw de mm"),  # io_uring_mmap()
        (r"anon_inode:\[perf_event\]", "mr mw pf io dc de dd"),  # perf_mmap()
        (r"anon_inode:bpf[-_]map", "mr mw de dd mm"),  # remap_vmalloc_range()
        (r"anon_inode:(?:kvm-vcpu|\[?kvm)", "mr mw"),  # kvm_vcpu_mmap()
        (r"socket:\[", "mr mw mm"),  # packet_mmap(), tcp_mmap()
    )
)


def well_known_device(path: str) -> tuple[str, ...]:
    """The codes of a mapping of the device at *path*, empty for what is no well-known device."""
    return next((codes for pattern, codes in _WELL_KNOWN if pattern.match(path)), ())
