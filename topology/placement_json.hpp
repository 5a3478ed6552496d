// How placements and reservations are described for JSON.
#pragma once

#include "topology/placement.hpp"
#include "topology/reservations.hpp"
#include "topology/struct_json.hpp"

namespace topology {

BOOST_DESCRIBE_ENUM(MemoryPolicy, strict, preferred, interleave)
BOOST_DESCRIBE_STRUCT(VcpuSeat, (), (vcpu, cpu, guest_node))
BOOST_DESCRIBE_STRUCT(MemoryCell, (), (guest_node, host_nodes, size, vcpus))
BOOST_DESCRIBE_STRUCT(PageNeed, (), (node, page, pages, deficit))
BOOST_DESCRIBE_STRUCT(GuestTopology, (), (sockets, dies, cores, threads))
BOOST_DESCRIBE_STRUCT(Placement, (),
                      (vcpus, emulator, iothreads, vhost, exclusive, cells, page, policy, pages, guest, distances,
                       notes))
BOOST_DESCRIBE_STRUCT(PageClaim, (), (node, page, pages))
BOOST_DESCRIBE_STRUCT(Reservation, (), (owner, cpus, pages, things))

}  // namespace topology
