// How steps are described for JSON.
#pragma once

#include "launcher/steps/step.hpp"
#include "topology/placement_json.hpp"

namespace launcher::inline steps {

BOOST_DESCRIBE_STRUCT(ProcessId, (), (pid, start))
BOOST_DESCRIBE_STRUCT(ChildSpec, (),
                      (argv, uid, affinity, policy, memory_nodes, memlock, group, cgroup, cache_group, own_core_cookie,
                       private_dev, private_nodes, dies_with_parent))
BOOST_DESCRIBE_STRUCT(RaisePool, (), (node, page, pages, floor))
BOOST_DESCRIBE_STRUCT(TrimPool, (), (node, page, pages, floor))
BOOST_DESCRIBE_STRUCT(MakeTap, (), (name, bridge, mtu, fds))
BOOST_DESCRIBE_STRUCT(OpenTap, (), (name, multi_queue, fds))
BOOST_DESCRIBE_STRUCT(DropTap, (), (name))
BOOST_DESCRIBE_STRUCT(MakeMacvtap, (), (name, over, mode, mac, mtu, fds))
BOOST_DESCRIBE_STRUCT(DropMacvtap, (), (name, mac))
BOOST_DESCRIBE_STRUCT(LimitRate, (), (interface, receive, send))
BOOST_DESCRIBE_STRUCT(OpenVhost, (), (fds))
BOOST_DESCRIBE_STRUCT(OpenFile, (), (path, writable, reopened, fd, direct))
BOOST_DESCRIBE_STRUCT(OpenLog, (), (path, fd))
BOOST_DESCRIBE_STRUCT(KeepDirectory, (), (path, for_qemu))
BOOST_DESCRIBE_STRUCT(CopyOnce, (), (from, to))
BOOST_DESCRIBE_STRUCT(GiveFile, (), (path, uid, gid, before_uid, before_gid))
BOOST_DESCRIBE_STRUCT(TakeFileBack, (), (path, uid, gid))
BOOST_DESCRIBE_STRUCT(MakeImage, (), (directory, name, format, size, preallocation, qemu_img, log, fd, direct))
BOOST_DESCRIBE_STRUCT(Listen, (), (path, fd, for_qemu))
BOOST_DESCRIBE_STRUCT(HoldPath, (), (path, fd))
BOOST_DESCRIBE_STRUCT(MakeDirectory, (), (path, fd))
BOOST_DESCRIBE_STRUCT(Pair, (), (fd, other))
BOOST_DESCRIBE_STRUCT(HandedFd, (), (number, planned))
BOOST_DESCRIBE_STRUCT(StartHelper, (), (role, child, fds, log))
BOOST_DESCRIBE_STRUCT(StartQemu, (), (child, monitor_fd, log))
BOOST_DESCRIBE_STRUCT(EndProcess, (), (process))
BOOST_DESCRIBE_STRUCT(MakeGroup, (), (path, shared))
BOOST_DESCRIBE_STRUCT(RemoveGroup, (), (path, shared))
BOOST_DESCRIBE_STRUCT(WriteControl, (), (path, text, expect))
BOOST_DESCRIBE_STRUCT(LoadModule, (), (name))
BOOST_DESCRIBE_STRUCT(CreateVfs, (), (physical, count, vf, address))
BOOST_DESCRIBE_STRUCT(RemoveVfs, (), (physical, count))
BOOST_DESCRIBE_STRUCT(SetVfMac, (), (interface, vf, mac, found))
BOOST_DESCRIBE_STRUCT(BindVfio, (), (address, driver, driver_override))
BOOST_DESCRIBE_STRUCT(GiveBack, (), (address, driver, driver_override))
BOOST_DESCRIBE_STRUCT(OpenVfio, (), (address, fd))
BOOST_DESCRIBE_STRUCT(TakeUsb, (), (port, node, fd))
BOOST_DESCRIBE_STRUCT(GiveBackUsb, (), (port))
BOOST_DESCRIBE_STRUCT(SetValue, (), (path, before, value))
BOOST_DESCRIBE_STRUCT(PutBack, (), (path, ours, before))
BOOST_DESCRIBE_STRUCT(KeepBeside, (), (path, value, beside, reads, undo))
BOOST_DESCRIBE_STRUCT(ChangeMask, (), (path, remove, add, back_on, undo))
BOOST_DESCRIBE_STRUCT(MakePartition, (), (path))
BOOST_DESCRIBE_STRUCT(EndPartition, (), (path))
BOOST_DESCRIBE_STRUCT(TakeCpus, (), (path, cpus))
BOOST_DESCRIBE_STRUCT(ReturnCpus, (), (path, cpus))

}  // namespace launcher::inline steps
