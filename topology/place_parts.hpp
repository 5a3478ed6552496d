// The parts place() is made of; for place*.cpp alone. The rule: each part is a pure function of the View and what the
// parts before it decided.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "topology/host_topology.hpp"
#include "topology/placement.hpp"
#include "topology/reservations.hpp"

namespace topology::parts {

using Problems = std::vector<Unplaceable>;

// ---- the host as place() sees it

struct Core {  // all of whose PUs are free
  unsigned core = 0, node = 0, l3 = 0, package = 0, kind = 0;
  std::vector<unsigned> cpus;  // ascending; isolated ones first where only some are
  unsigned isolated = 0;       // how many of its CPUs are
  bool far = false;            // its own node has no memory that may be had
};

struct Room {                                      // memory of one node that may be given
  Bytes free;                                      // outside the pools, less what the host keeps
  std::map<std::uint64_t, std::uint64_t> in_pool;  // page size in bytes -> pages
};

struct View {
  const PlacementRequest& request;
  const HostTopology& host;   // as usable_part() leaves it
  const HostTopology& whole;  // as it was read
  const HostPolicy& policy;
  const Reservations& taken;
  CpuSet housekeeping;
  CpuSet held;                      // by other VMs
  unsigned threads_per_core = 1;    // of the host, the most
  std::vector<unsigned> kinds;      // of the host, fastest first
  std::optional<CpuSet> caches;     // numbers of the L3s that were asked for; nullopt: all
  std::vector<Core> cores;          // whole free cores (of those L3s), in order of number
  std::map<unsigned, Room> rooms;   // by node number
  std::vector<unsigned> cpu_nodes;  // nodes that have CPUs, ascending
  std::vector<unsigned> homes;      // of the VM's devices
  bool trying = false;              // would_fit() asks: why not is nobody's question
};
View view_of(const PlacementRequest& request, const HostTopology& host, const HostTopology& whole,
             const HostPolicy& policy, const Reservations& taken);

// ---- what of it may be used (place_usable.cpp)

// The allowed CPUs; memory of the allowed nodes only; CPUs whose node has no memory on the nearest that has some. nullopt:
// the host as it is (a copy of a large one costs more than the placement).
std::optional<HostTopology> usable_part(const HostTopology& host);
// As home_of_device(); part is what usable_part() leaves of whole.
std::optional<unsigned> home_within(const HostTopology& part, const HostTopology& whole, unsigned node);
void check_which_cores(const View& view, Problems& problems);  // are the kind and the L3 that were asked for there?
// What of that concerns this placement, in words: who serves its CPUs, what bounds the plan.
std::vector<std::string> usable_notes(const View& view, const Placement& placement);
// "; CPUs 0,2-7 are not allowed (CPUs 1: ...)" for a refusal; "" where all is allowed.
std::string bounds_text(const HostTopology& host);

// ---- is the request possible on this host at all, whoever else is there (place_check.cpp)

Problems check(const View& view);
// Do each `threads` CPUs in a row of cpu.pin's list sit on one core, and each row on another? (place_seats.cpp)
bool mirrors(const View& view, unsigned threads);
// Can sockets, cores and this many threads make up the vCPUs, with no core of two cells?
bool shape_fits(const PlacementRequest& request, unsigned threads);

// ---- cores (place_cpus.cpp)

struct CoreNeed {
  unsigned cores = 0;
  unsigned threads = 1;          // guest threads per core
  std::optional<unsigned> kind;  // nullopt: any
  bool filled = false;           // a vCPU on every thread, however many a core has: `cores` counts threads
  friend bool operator==(const CoreNeed&, const CoreNeed&) = default;
};
// "cores"; "P-cores" and "E-cores" where a host has two kinds; "cores of kind 1" where it has more
std::string cores_of_kind(const View& view, std::optional<unsigned> kind);
std::string free_ones(const View& view,
                      const CoreNeed& need);           // "whole free cores of L3 1", "free threads of whole cores"
std::optional<unsigned> kind_asked(const View& view);  // of the whole host's; nullopt: no certain one
std::vector<CoreNeed> core_needs(const View& view);    // what would do, best first; not empty after check()
// A CPU on which QEMU's own threads and vhost's would be near a VM there; false where the spec names theirs.
bool has_housekeeping(const View& view, unsigned node);
bool serves(const Core& core, const CoreNeed& need);
bool is_isolated(const Core& core, const CoreNeed& need);  // are the CPUs that its vCPUs would be on?
unsigned places(const Core& core, const CoreNeed& need);   // how many of need.cores it is
std::map<unsigned, unsigned> cores_by_node(const View& view, const CoreNeed& need);
std::vector<const Core*> pick_cores(const View& view, const CoreNeed& need, unsigned node, unsigned count);

// ---- memory (place_memory.cpp)

struct PageKind {
  Bytes page;
  bool may_raise = false;  // the pool may grow for it
};
// Heap, stacks, page tables of QEMU and vmrun, which the cgroup counts: 17M of heap were seen with 7.2, 10.0 and 11.1.
inline constexpr Bytes qemus_own = mib(32);
std::vector<PageKind> page_kinds(const View& view);           // what would do, best first; not empty after check()
std::optional<Bytes> odd_size(const View& view, Bytes page);  // of the memory, or of a cell's: not of whole pages
Bytes granule(const View& view, const PageKind& kind);        // cells are multiples of this
// How much is left beside the most that is left anywhere, in quarters: free memory changes from second to second, and the
// choice must not.
unsigned in_quarters(std::uint64_t left, std::uint64_t most);
std::uint64_t room_in_pages(const View& view, unsigned node, const PageKind& kind);
// total over places that hold at most caps: as even as the caps let it be, the rest to the first. nullopt: too much.
std::optional<std::vector<std::uint64_t>> spread(std::uint64_t total, const std::vector<std::uint64_t>& caps);

struct Memory {  // one part per cell; a part's size lies on its nodes
  struct Part {
    std::vector<unsigned> nodes;
    Bytes size;
  };
  std::vector<Part> parts;
  PageKind page;
  std::map<unsigned, std::uint64_t> pages;  // by node; all of the memory
  std::vector<std::string> notes;
};
// Sizes over these nodes: spread evenly as far as they have room. nullopt: no kind of page fits.
std::optional<Memory> memory_over(const View& view, const std::vector<unsigned>& nodes);
// Shares of the memory in proportion to weights (vCPUs per node), node by node.
std::optional<Memory> memory_by_weight(const View& view, const std::vector<unsigned>& nodes,
                                       const std::vector<std::uint64_t>& weights);
// One part that lies on all these nodes together.
std::optional<Memory> memory_together(const View& view, const std::vector<unsigned>& nodes);
// policy preferred: half the nodes wanted, the rest wherever it is nearest.
std::optional<Memory> memory_preferred(const View& view, const std::vector<unsigned>& nodes);
std::vector<unsigned> memory_nodes(const View& view);  // asked for, or all that have memory
std::vector<PageNeed> page_needs(const View& view, const Memory& memory);
std::string page_note(const View& view, const Memory& memory);  // what "auto" became and why; may be empty

// ---- nodes (place_nodes.cpp)

struct Share {
  unsigned node = 0;
  unsigned cores = 0;
};
struct Choice {
  CoreNeed need;
  std::vector<Share> shares;  // ascending node
  Memory memory;
  std::vector<std::string> notes;
  std::vector<unsigned>
      cell_nodes;  // of each cell of the request: where its vCPUs are, and its memory if it names no nodes
};
std::optional<Choice> choose_nodes(const View& view);
// place_shares.cpp: how many of the need's cores this node has isolated; what each node gives of so many cores (caps: what it has,
// isolated: how many of them are). nullopt: too many.
unsigned isolated_cores(const View& view, const CoreNeed& need, unsigned node);
std::optional<std::vector<std::uint64_t>> shares_of(std::uint64_t cores, const std::vector<std::uint64_t>& caps,
                                                    const std::vector<std::uint64_t>& isolated);
// How many nodes it takes at least, whichever they are: those with the most free cores.
unsigned least_nodes(const std::map<unsigned, unsigned>& free_cores, const std::vector<unsigned>& nodes,
                     unsigned cores);
// The best of these for all of the VM.
std::optional<Choice> on_one_node(const View& view, const CoreNeed& need, const std::vector<unsigned>& nodes,
                                  bool with_memory);
std::vector<unsigned> by_distance(const View& view, const std::vector<unsigned>& from, std::vector<unsigned> nodes);

// ---- no pinning (place_unpinned.cpp)

struct Unpinned {
  Memory memory;  // one part
  CpuSet cpus;    // where all threads may run
  unsigned threads = 1;
  std::vector<std::string> notes;
};
std::expected<Unpinned, Problems> choose_unpinned(const View& view);

// ---- who sits where (place_seats.cpp)

struct Seats {
  std::vector<std::optional<unsigned>> cpus;  // by vCPU
  unsigned threads = 1;
  CpuSet exclusive;
  std::vector<std::string> notes;
};
Seats seat_chosen(const View& view, const Choice& choice);
std::expected<Seats, Problems> seat_listed(const View& view);

struct Helpers {  // CPUs for all that is not a vCPU
  CpuSet cpus;
  std::vector<std::string> notes;
};
Helpers helper_cpus(const View& view, const Seats& seats, const std::vector<unsigned>& nodes);

// ---- guest nodes by hand (place_cells.cpp); the request has some

// Is no core of this many threads (vCPUs in a row) of two cells?
bool cells_keep_cores(const PlacementRequest& request, unsigned threads);
void check_cells(const View& view, Problems& problems);
// All on one node where that has room, else each on its own as far as there are nodes, near to each other.
std::optional<Choice> choose_for_cells(const View& view);
// A part for each, on these nodes. nullopt: no kind of page fits; of policy preferred, what does not fit lies elsewhere.
std::optional<Memory> memory_of_cells(const View& view, const std::vector<std::vector<unsigned>>& nodes);
// For vCPUs that have their CPUs: each cell's memory on its own nodes, else on those of its CPUs.
std::optional<Memory> memory_of_seated(const View& view, const Seats& seats);
// For vCPUs that have none: each cell's memory on its own nodes, else on these together.
std::optional<Memory> memory_of_unseated(const View& view, const std::vector<unsigned>& nodes);
std::vector<unsigned> nodes_named_by_cells(const View& view);  // ascending
// By vCPU, of CPUs that are in order of their nodes.
std::vector<std::optional<unsigned>> in_order_of_vcpus(const View& view, const Choice& choice,
                                                       const std::vector<std::optional<unsigned>>& cpus);
std::vector<std::vector<unsigned>> cell_distances(const View& view,
                                                  const Memory& memory);  // also where none are by hand
Problems why_no_cells(const View& view);  // the host has enough, but not for these cells

// ---- why not (place_why.cpp)

// Would this have a place in the same world? (place.cpp)
bool would_fit(const View& view, const PlacementRequest& request);
// Ways out that were tried, in words: "set count = 6 or less, or set pin = \"off\" to share CPUs". There are so many cores for so many
// threads each; where memory is short as well, that is another problem, told beside this one. (place_help.cpp)
std::string help_for_cores(const View& view, unsigned cores, unsigned threads, bool short_of_memory);
// The same where these nodes have too little memory in pages of this kind.
std::string help_for_memory(const View& view, const std::vector<unsigned>& nodes, const PageKind& kind,
                            bool short_of_cores);
Problems why_not(const View& view);  // no cores, no memory, or not both together
Problems why_no_memory(const View& view, const std::vector<unsigned>& nodes, bool short_of_cores = false);
std::string who_holds_cpus(const View& view, unsigned node);
// Pages of this size, and ordinary memory where the pool would grow by it: "held by db (4)"; "": no other VM.
std::string who_holds_pages(const View& view, unsigned node, const PageKind& kind);
std::string why_slower(const View& view, const CoreNeed& need);  // a note: not the fastest kind

std::string numbers(const std::vector<unsigned>& sorted);  // "0,2,5"
std::string page_name(Bytes page);                         // "2M"

}  // namespace topology::parts
