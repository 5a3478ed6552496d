// What to do where there is too little of something. The rule: each way out was tried, and leads to a place.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

struct Way {
  std::string words;
  PlacementRequest request;
};

// Fewer vCPUs: the most of at most this many that have a place.
std::optional<Way> fewer_vcpus(const View& view, PlacementRequest request, unsigned most) {
  constexpr unsigned tries = 16;  // a shape of the user's own leaves few numbers
  if (!request.cells.empty()) return std::nullopt;
  for (unsigned count = most; count > 0 && count + tries > most; --count) {
    request.vcpus = count;
    if (!would_fit(view, request)) continue;
    --request.vcpus;
    const bool also_less = count > 1 && would_fit(view, request);
    return Way{fmt::format("set count = {}{}", count, also_less ? " or less" : ""), {}};
  }
  return std::nullopt;
}

std::vector<Way> other_ways(const PlacementRequest& asked) {
  std::vector<Way> ways;
  const auto add = [&](std::string words, auto change) {
    PlacementRequest request = asked;
    change(request);
    if (request != asked) ways.push_back({std::move(words), std::move(request)});
  };
  add("set host_l3 = \"auto\": cores of the other L3s then do as well",
      [](PlacementRequest& r) { r.l3.reset(), r.largest_l3 = false; });
  add("set threads = \"auto\"", [](PlacementRequest& r) { r.threads.reset(); });
  add("set siblings = \"prefer\"", [](PlacementRequest& r) { r.siblings = Siblings::prefer; });
  add("set kind = \"any\", which mixes kinds of cores", [](PlacementRequest& r) { r.kind = CpuKindChoice::any; });
  add("leave out cpu.sockets and cpu.cores", [](PlacementRequest& r) { r.sockets.reset(), r.cores.reset(); });
  add("set emulator = \"auto\": cores of its CPUs are not for vCPUs", [](PlacementRequest& r) { r.emulator.reset(); });
  add("set memory.policy = \"preferred\"", [](PlacementRequest& r) { r.policy = MemoryPolicy::preferred; });
  add("set memory.policy = \"interleave\"", [](PlacementRequest& r) { r.policy = MemoryPolicy::interleave; });
  add("leave out memory.nodes", [](PlacementRequest& r) { r.nodes.clear(); });
  add("set pin = \"off\" to share CPUs", [](PlacementRequest& r) { r.pinning = Pinning::off; });
  add("set pin = \"off\" and siblings = \"prefer\" to share CPUs",
      [](PlacementRequest& r) { r.pinning = Pinning::off, r.siblings = Siblings::prefer; });
  return ways;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text = words.front();
  for (std::size_t i = 1; i < words.size(); ++i) text += (i + 1 == words.size() ? ", or " : ", ") + words[i];
  return text;
}

// "set size = \"6G\" or less": as much as these nodes have together, or as one has, of which as much as leads to a place. table: "memory." where
// the problem's key is another's.
std::optional<std::string> less_memory(const View& view, PlacementRequest request, const std::vector<unsigned>& nodes,
                                       const PageKind& kind, std::string_view table = "") {
  if (!request.cells.empty()) return std::nullopt;  // those have sizes of their own
  std::vector<std::uint64_t> rooms(1);
  for (const unsigned node : nodes) {
    rooms.push_back(room_in_pages(view, node, kind));
    rooms.front() += rooms.back();
  }
  std::ranges::sort(rooms, std::greater<>());
  const std::uint64_t block = std::max(mib(2), kind.page).count, start = request.starts_with.value_or(Bytes{}).count;
  for (const std::uint64_t pages : rooms) {
    std::uint64_t size = kind.page.count * pages;
    size =
        size > start ? start + (size - start) / block * block : 0;  // what virtio-mem adds to a start comes in blocks
    if (size <= start || size >= request.memory.count) continue;
    PlacementRequest other = request;
    other.memory = {size};
    if (would_fit(view, other))
      return fmt::format("set {}{} = \"{}\" or less", table, start > 0 ? "max" : "size", to_string(other.memory));
  }
  if (start == 0) return std::nullopt;
  request.memory = *request.starts_with, request.starts_with.reset();
  return would_fit(view, request) ? std::optional<std::string>("leave out memory.max") : std::nullopt;
}

// What the kernel's command line needs for this VM beside the others: "hugepages=8", "hugepages=0:8,1:8" where there are several nodes (by
// node since Linux 5.16; kernel: Documentation/admin-guide/kernel-parameters.txt). "": the nodes have not so much memory.
std::string pages_at_boot(const View& view, const std::vector<unsigned>& nodes, Bytes page) {
  std::vector<std::pair<unsigned, std::uint64_t>> held, room;  // by node
  for (const unsigned id : nodes) {
    std::uint64_t by_others = 0, all = 0;
    for (const Reservation& vm : view.taken.vms)
      for (const PageClaim& claim : vm.pages)
        if (claim.node == id && claim.page == page) by_others += claim.pages;
    for (const Node& node : view.host.nodes)
      if (node.id == id) all = node.memory_total.count / page.count;
    held.emplace_back(id, by_others);
    room.emplace_back(id, all > by_others + 1 ? all - by_others - 1 : 0);  // one stays the host's
  }
  std::uint64_t left = view.request.memory.count / page.count;
  const auto whole = std::ranges::find_if(room, [&](const auto& one) { return one.second >= left; });
  std::string text;
  for (std::size_t i = 0; i < room.size() && left > 0; ++i) {
    if (whole != room.end() && room[i] != *whole) continue;
    const std::uint64_t here = std::min(left, room[i].second);
    if (here == 0) continue;
    left -= here;
    const std::string count = fmt::to_string(here + held[i].second);
    text +=
        view.whole.nodes.size() == 1 ? count : fmt::format("{}{}:{}", text.empty() ? "" : ",", room[i].first, count);
  }
  return left > 0 ? "" : fmt::format("hugepagesz={} hugepages={}", page_name(page), text);
}

}  // namespace

std::string help_for_memory(const View& view, const std::vector<unsigned>& nodes, const PageKind& kind,
                            bool short_of_cores) {
  const bool huge = kind.page != view.host.base_page;
  if (nodes.empty()) return "no node of this host's description says how much memory it has: describe it with sizes";
  PlacementRequest asked = view.request;
  if (short_of_cores) asked.pinning = Pinning::off, asked.siblings = Siblings::prefer;  // that is told by itself
  std::vector<std::string> words;
  const auto leads = [&](const std::string& text, auto change) {
    PlacementRequest request = asked;
    change(request);
    if (request == asked || !would_fit(view, request)) return false;
    words.push_back(text);
    return true;
  };
  const bool none = std::ranges::none_of(nodes, [&](unsigned node) { return room_in_pages(view, node, kind) > 0; });
  if (const auto less = less_memory(view, asked, nodes, kind)) words.push_back(*less);
  if (const std::string at_boot = kind.page >= gib(1) ? pages_at_boot(view, nodes, kind.page) : ""; !at_boot.empty())
    words.push_back(fmt::format("reserve more at boot ({})", at_boot));
  if (huge && !kind.may_raise)
    leads("run as root so that pages can be added", [](PlacementRequest& r) { r.may_reserve_pages = true; });
  if (huge)
    for (const Bytes page : {mib(2), view.host.base_page})
      if (leads(fmt::format("set page = \"{}\"", page_name(page)), [&](PlacementRequest& r) { r.page = page; })) break;
  leads("leave out memory.nodes", [](PlacementRequest& r) { r.nodes.clear(); });
  const bool held =
      std::ranges::any_of(nodes, [&](unsigned node) { return !who_holds_pages(view, node, kind).empty(); });
  if (held) words.emplace_back("stop a VM");
  Bytes total;
  for (const Node& node : view.host.nodes)
    if (std::ranges::find(nodes, node.id) != nodes.end()) total = total + node.memory_total;
  if (!held && (!huge || kind.may_raise) && kind.page < gib(1) && (total > asked.memory || total.count == 0))
    words.emplace_back("free some memory");
  if (!huge && none) words.emplace_back("give back huge pages that nobody uses");
  if (words.empty() && huge) {  // no one thing helps: two do
    const std::string small = fmt::format("set page = \"{}\"", page_name(view.host.base_page));
    asked.page = view.host.base_page;
    leads(small + " and leave out memory.nodes", [](PlacementRequest& r) { r.nodes.clear(); });
    if (const auto less = less_memory(view, asked, nodes, {view.host.base_page}))
      words.push_back(small + " and " + *less);
  }
  if (words.empty()) return "ask for less memory, or for smaller pages, or for none of these nodes in particular";
  return joined(words);
}

std::string help_for_cores(const View& view, unsigned cores, unsigned threads, bool short_of_memory) {
  PlacementRequest asked = view.request;
  if (short_of_memory && asked.cells.empty())
    asked.page = view.host.base_page, asked.memory = mib(2) * view.host.nodes.size();
  std::vector<std::string> words;
  auto fewer = fewer_vcpus(view, asked, std::min(cores * view.threads_per_core, asked.vcpus - 1));
  if (!fewer) fewer = fewer_vcpus(view, asked, std::min(cores * threads, asked.vcpus - 1));
  if (fewer) words.push_back(fewer->words);
  if (!view.taken.vms.empty()) words.emplace_back("stop a VM");
  if (!short_of_memory)
    if (const auto less = less_memory(view, asked, memory_nodes(view), page_kinds(view).back(), "memory."))
      words.push_back(*less);
  bool shares = false;  // by the shorter way
  for (const Way& way : other_ways(asked)) {
    const bool off = way.request.pinning == Pinning::off;
    if ((off && shares) || !would_fit(view, way.request)) continue;
    shares = shares || off;
    words.push_back(way.words);
  }
  if (words.empty())
    return "ask for fewer vCPUs and less memory, or for none of these nodes, cores and caches in particular";
  return joined(words);
}

}  // namespace topology::parts
