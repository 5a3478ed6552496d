// What is asked of a host, what it answers, and why it cannot. Plain values; the algorithm is in place.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/host_topology.hpp"

namespace topology {

enum class Pinning { automatic, listed, off };
enum class MemoryPolicy { strict, preferred, interleave };
// What becomes of a core's other threads: prefer (vCPUs share whole cores where that fits), isolate (one vCPU on a core,
// its siblings stay idle and are the VM's), require (only vCPUs in sibling pairs, refused on a host without SMT).
enum class Siblings { prefer, isolate, require };
// automatic: never mixed; the fastest that fits. efficient: not the low-power ones where there are others.
enum class CpuKindChoice { automatic, fastest, efficient, any, low_power };

// A guest node by hand.
struct CellRequest {
  std::vector<unsigned> vcpus = {};      // ascending; empty: memory alone
  Bytes size = {};                       // 0: CPUs alone
  Bytes later = {};                      // of that, what the guest is given while it runs; both are whole pages
  std::vector<unsigned> nodes = {};      // of the host, for its memory and near its vCPUs; empty: choose
  std::vector<unsigned> distances = {};  // to each cell; empty in all of them: as the host's nodes lie
  friend bool operator==(const CellRequest&, const CellRequest&) = default;
};

struct PlacementRequest {
  unsigned vcpus = 1;
  std::optional<unsigned> threads;  // guest threads per core: 1, 2, ...; nullopt: choose
  std::optional<unsigned> sockets;  // guest topology when the user wants it; nullopt: mirror the host
  std::optional<unsigned> cores;    // per socket
  Pinning pinning = Pinning::automatic;
  Siblings siblings = Siblings::prefer;
  std::vector<unsigned> listed;    // pinning == listed: the CPU of vCPU 0, 1, ...; size() == vcpus
  std::optional<CpuSet> emulator;  // nullopt: choose
  unsigned iothreads = 0;          // threads that want a CPU beside the emulator's
  unsigned vhost_workers = 0;      // one per queue pair of every vhost NIC
  Bytes memory;
  std::optional<Bytes> starts_with;  // of that; the rest can be had later (memory.max), in blocks
  std::optional<Bytes> page;         // nullopt: choose ("auto"): huge pages where they fit, else base pages
  bool may_reserve_pages = true;     // false (no root): only pages already free in the pools count
  std::vector<unsigned> nodes;       // empty: choose
  MemoryPolicy policy = MemoryPolicy::strict;
  CpuKindChoice kind = CpuKindChoice::automatic;
  std::optional<unsigned> l3;          // pinning == automatic: cores of this L3 only (a number as in Pu)
  bool largest_l3 = false;             // cores of the largest L3s only
  bool own_cpus = false;               // it must have CPUs of its own, even where the host then keeps none
  std::vector<unsigned> device_nodes;  // nodes of the VM's own devices: these come first
  std::vector<CellRequest> cells;      // all vCPUs, each once, and all of the memory; empty: as the VM lies on the host
  friend bool operator==(const PlacementRequest&, const PlacementRequest&) = default;
};

struct VcpuSeat {
  unsigned vcpu = 0;
  std::optional<unsigned> cpu;  // nullopt when pinning is off
  unsigned guest_node = 0;      // index into Placement::cells
  friend bool operator==(const VcpuSeat&, const VcpuSeat&) = default;
};

// One guest NUMA node and the host memory behind it.
struct MemoryCell {
  unsigned guest_node = 0;
  std::vector<unsigned> host_nodes;  // one, unless policy interleave (or pinning off) lets one cell span several
  Bytes size;
  std::vector<unsigned> vcpus;
  friend bool operator==(const MemoryCell&, const MemoryCell&) = default;
};

// Pages a node must have free, and by how much its pool must grow first.
struct PageNeed {
  unsigned node = 0;
  Bytes page;
  std::uint64_t pages = 0;
  std::uint64_t deficit = 0;  // 0: the pool already has them free (always 0 for base pages)
  friend bool operator==(const PageNeed&, const PageNeed&) = default;
};

struct GuestTopology {  // product == vcpus
  unsigned sockets = 1, dies = 1, cores = 1, threads = 1;
  friend bool operator==(const GuestTopology&, const GuestTopology&) = default;
};

struct Placement {
  std::vector<VcpuSeat> vcpus;
  CpuSet emulator;                // main loop, call_rcu, workers: housekeeping of the VM's nodes unless asked otherwise
  std::vector<CpuSet> iothreads;  // one per requested iothread
  CpuSet vhost;                   // all vhost workers of the VM
  CpuSet exclusive;               // what nobody else may have: goes into the ledger
  std::vector<MemoryCell> cells;  // at least one
  Bytes page;                     // base page when no huge pages are used
  MemoryPolicy policy = MemoryPolicy::strict;
  std::vector<PageNeed> pages;  // where all of the memory is to lie
  GuestTopology guest;
  std::vector<std::vector<unsigned>> distances;  // guest NUMA distances, cells x cells; empty for one cell
  std::vector<std::string> notes;                // what "auto" became and why; what crosses nodes and why
  friend bool operator==(const Placement&, const Placement&) = default;
};

// Why a request has no place, per node, with numbers.
struct NodeShortage {
  unsigned node = 0;
  std::string what;    // "free cores", "free CPUs", "free 2M pages", "memory"
  std::string have;    // "6"
  std::string need;    // "8"
  std::string holder;  // "held by db (4-11), housekeeping 0-1"; may be empty
  friend bool operator==(const NodeShortage&, const NodeShortage&) = default;
};

struct Unplaceable {
  std::string key;   // the spec key that is to blame: "cpu.count", "memory.size", "memory.page", "cpu.pin", ...
  std::string what;  // one sentence
  std::vector<NodeShortage> nodes;
  std::string help;
  friend bool operator==(const Unplaceable&, const Unplaceable&) = default;
};

}  // namespace topology
