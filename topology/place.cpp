// The story of a placement: look at the host, refuse what can never be, choose nodes and cores (or take the user's
// list, or none at all), lay the memory there, and give the other threads their CPUs. The rule: nothing here is random,
// and nothing looks at the machine.
#include "topology/place.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>
#include <utility>

#include "topology/place_parts.hpp"

namespace topology {

namespace {

using namespace parts;

using Result = std::expected<Placement, std::vector<Unplaceable>>;

void append(std::vector<std::string>& notes, std::vector<std::string> more) {
  notes.insert(notes.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// The number of equal blocks in a row, each of one key that no other block has; 1 when it is not that regular.
unsigned even_blocks(const std::vector<unsigned>& keys) {
  std::set<unsigned> seen;
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i > 0 && keys[i] == keys[i - 1]) {
      ++sizes.back();
      continue;
    }
    if (!seen.insert(keys[i]).second) return 1;
    sizes.push_back(1);
  }
  for (const auto size : sizes)
    if (size != sizes.front()) return 1;
  return std::max(1u, static_cast<unsigned>(sizes.size()));
}

// As many cores as a die can have so that none is of two guest nodes: what divides every run of one node's cores, and the
// cores of a socket. Where a core itself is of two nodes, none does: all of the socket's.
unsigned cores_within_nodes(const std::vector<unsigned>& nodes, unsigned threads, unsigned per_socket) {
  unsigned common = 0, run = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    ++run;
    if (i + 1 < nodes.size() && nodes[i + 1] == nodes[i]) continue;
    common = std::gcd(common, run);
    run = 0;
  }
  return common % threads == 0 ? std::gcd(common / threads, per_socket) : per_socket;
}

// Mirrors the host where the vCPUs lie evenly: a socket for each package, a die for each last-level cache within it. QEMU gives
// every die an L3 of its own, so no die is of two guest nodes. What the user says of sockets and cores goes first.
GuestTopology guest_topology(const View& view, const Seats& seats, const std::vector<VcpuSeat>& vcpus) {
  const auto& r = view.request;
  GuestTopology guest{.sockets = 1, .dies = 1, .cores = 1, .threads = seats.threads};
  std::vector<unsigned> packages, nodes, caches;
  for (const VcpuSeat& seat : vcpus) {
    if (seat.cpu) packages.push_back(view.host.pu(*seat.cpu)->package);
    if (seat.cpu) caches.push_back(view.host.pu(*seat.cpu)->l3);
    nodes.push_back(seat.guest_node);
  }
  const unsigned per_thread = r.vcpus / guest.threads;
  const unsigned sockets = even_blocks(packages), in_caches = even_blocks(caches);
  if (r.sockets || r.cores)
    guest.sockets = r.sockets ? *r.sockets : r.vcpus / (*r.cores * guest.threads);
  else if (per_thread % sockets == 0)
    guest.sockets = sockets;
  const unsigned per_socket = per_thread / guest.sockets;
  guest.dies = per_socket / cores_within_nodes(nodes, guest.threads, per_socket);
  const bool shared = per_thread % in_caches == 0 && per_thread / in_caches > 1;  // a cache of one core's own is no die
  if (!r.sockets && !r.cores && shared && in_caches % (guest.sockets * guest.dies) == 0)
    guest.dies = in_caches / guest.sockets;
  guest.cores = per_socket / guest.dies;
  return guest;
}

// The cell whose memory is the CPU's own, else the nearest.
unsigned cell_of(const View& view, const Memory& memory, std::optional<unsigned> cpu) {
  if (!cpu) return 0;
  const unsigned node = view.host.pu(*cpu)->node;
  unsigned best = 0, nearest = ~0u;
  for (unsigned cell = 0; cell < memory.parts.size(); ++cell)
    for (const unsigned host_node : memory.parts[cell].nodes)
      if (const unsigned distance = view.host.distance(node, host_node); distance < nearest)
        nearest = distance, best = cell;
  return best;
}

// Everything but the helpers' CPUs.
Placement assemble(const View& view, const Seats& seats, const Memory& memory) {
  Placement placement;
  for (unsigned cell = 0; cell < memory.parts.size(); ++cell)
    placement.cells.push_back({cell, memory.parts[cell].nodes, memory.parts[cell].size, {}});
  std::vector<unsigned> by_hand(view.request.vcpus);
  for (unsigned cell = 0; cell < view.request.cells.size(); ++cell)
    for (const unsigned vcpu : view.request.cells[cell].vcpus) by_hand[vcpu] = cell;
  for (unsigned vcpu = 0; vcpu < view.request.vcpus; ++vcpu) {
    const unsigned cell = view.request.cells.empty() ? cell_of(view, memory, seats.cpus[vcpu]) : by_hand[vcpu];
    placement.vcpus.push_back({vcpu, seats.cpus[vcpu], cell});
    placement.cells[cell].vcpus.push_back(vcpu);
  }
  placement.exclusive = seats.exclusive;
  placement.page = memory.page.page;
  placement.policy = view.request.policy;
  placement.pages = page_needs(view, memory);
  placement.guest = guest_topology(view, seats, placement.vcpus);
  if (memory.parts.size() > 1) placement.distances = cell_distances(view, memory);
  if (auto note = page_note(view, memory); !note.empty()) placement.notes.push_back(std::move(note));
  append(placement.notes, memory.notes);
  append(placement.notes, seats.notes);
  return placement;
}

void give_helpers(const PlacementRequest& request, Helpers helpers, Placement& placement) {
  placement.iothreads.assign(request.iothreads, helpers.cpus);
  if (request.vhost_workers != 0) placement.vhost = helpers.cpus;
  placement.emulator = std::move(helpers.cpus);
  append(placement.notes, std::move(helpers.notes));
}

std::vector<unsigned> nodes_of(const View& view, const Seats& seats) {
  std::set<unsigned> nodes;
  for (const auto cpu : seats.cpus) nodes.insert(view.host.pu(*cpu)->node);
  return {nodes.begin(), nodes.end()};
}

// ---- the three ways to pin

Result place_unpinned(const View& view);

// May CPUs of its own be left out rather than take the host's last? Only where nothing asked for them, and the host is too
// small to keep any (its housekeeping is nobody's choice).
bool may_float(const View& view) {
  const auto& r = view.request;
  const bool asked = r.own_cpus || r.siblings != Siblings::prefer || r.threads || r.emulator || view.caches;
  return !asked && !view.policy.housekeeping && view.housekeeping.empty() && r.vcpus <= view.host.pus.size();
}

Result place_floating(const View& view) {
  Result result = place_unpinned(view);
  if (result)
    result->notes.push_back(
        "cpu.pin = \"auto\" became \"off\": with CPUs of its own the VM would leave none to the host; siblings, "
        "threads, "
        "emulator or pin = [...] ask for them");
  return result;
}

Result place_chosen(const View& view) {
  const auto choice = view.request.cells.empty() ? choose_nodes(view) : choose_for_cells(view);
  if (!choice && may_float(view))
    if (Result floating = place_floating(view)) return floating;
  if (!choice) return std::unexpected(why_not(view));
  Seats seats = seat_chosen(view, *choice);
  if (!view.request.cells.empty()) seats.cpus = in_order_of_vcpus(view, *choice, seats.cpus);
  if (may_float(view) && (view.host.all_cpus() - view.held - seats.exclusive - view.host.isolated).empty())
    return place_floating(view);
  Placement placement = assemble(view, seats, choice->memory);
  placement.notes.insert(placement.notes.begin(), choice->notes.begin(), choice->notes.end());
  give_helpers(view.request, helper_cpus(view, seats, nodes_of(view, seats)), placement);
  return placement;
}

Result place_listed(const View& view) {
  const auto seats = seat_listed(view);
  if (!seats) return std::unexpected(seats.error());
  const auto cpu_nodes = nodes_of(view, *seats);
  const bool own_nodes = !view.request.nodes.empty();
  const auto nodes = own_nodes ? memory_nodes(view) : cpu_nodes;
  std::vector<std::uint64_t> weights(nodes.size());
  for (const auto cpu : seats->cpus)
    if (const auto at = std::find(nodes.begin(), nodes.end(), view.host.pu(*cpu)->node); at != nodes.end())
      ++weights[static_cast<std::size_t>(at - nodes.begin())];
  std::optional<Memory> memory;
  if (!view.request.cells.empty()) {
    memory = memory_of_seated(view, *seats);
    if (!memory) return std::unexpected(why_no_cells(view));
  } else if (view.request.policy == MemoryPolicy::interleave)
    memory = memory_together(view, memory_nodes(view));
  else
    memory = own_nodes ? memory_over(view, nodes) : memory_by_weight(view, nodes, weights);
  if (!memory && view.request.policy == MemoryPolicy::preferred) memory = memory_preferred(view, nodes);
  if (!memory) return std::unexpected(why_no_memory(view, nodes));
  Placement placement = assemble(view, *seats, *memory);
  if (cpu_nodes.size() > 1)
    placement.notes.push_back(
        fmt::format("the VM crosses nodes {}: so do the CPUs that cpu.pin names", numbers(cpu_nodes)));
  if (own_nodes && nodes != cpu_nodes)
    placement.notes.push_back(fmt::format("the memory lies on nodes {}, the CPUs that cpu.pin names on {}",
                                          numbers(nodes), numbers(cpu_nodes)));
  give_helpers(view.request, helper_cpus(view, *seats, cpu_nodes), placement);
  return placement;
}

Result place_unpinned(const View& view) {
  auto choice = choose_unpinned(view);
  if (!choice) return std::unexpected(choice.error());
  const Seats seats{.cpus = std::vector<std::optional<unsigned>>(view.request.vcpus),
                    .threads = choice->threads,
                    .exclusive = {},
                    .notes = {}};
  Placement placement = assemble(view, seats, choice->memory);
  append(placement.notes, std::move(choice->notes));
  give_helpers(view.request, {view.request.emulator.value_or(choice->cpus), {}}, placement);
  return placement;
}

Result place_pinned(const View& view) {
  switch (view.request.pinning) {
    case Pinning::automatic:
      return place_chosen(view);
    case Pinning::listed:
      return place_listed(view);
    case Pinning::off:
      return place_unpinned(view);
  }
  std::unreachable();
}

}  // namespace

bool parts::would_fit(const View& view, const PlacementRequest& request) {
  View other = view_of(request, view.host, view.whole, view.policy, view.taken);
  other.trying = true;
  return check(other).empty() && place_pinned(other).has_value();
}

std::optional<unsigned> home_of_device(const HostTopology& host, unsigned node) {
  const std::optional<HostTopology> part = usable_part(host);
  return home_within(part ? *part : host, host, node);
}

Result place(const PlacementRequest& request, const HostTopology& host, const HostPolicy& policy,
             const Reservations& taken) {
  const std::optional<HostTopology> part = usable_part(host);
  const View view = view_of(request, part ? *part : host, host, policy, taken);
  auto problems = check(view);
  Result result = problems.empty() ? place_pinned(view) : std::unexpected(std::move(problems));
  if (result)
    append(result->notes, usable_notes(view, *result));
  else if (const std::string bounds = bounds_text(host); !bounds.empty())
    for (Unplaceable& why : result.error()) why.what += bounds;
  return result;
}

}  // namespace topology
