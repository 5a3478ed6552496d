// Short words for tests of place(): requests, and a placement in one line.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "tests/topology/machines.hpp"
#include "topology/place.hpp"

using PlaceResult = std::expected<topology::Placement, std::vector<topology::Unplaceable>>;

inline topology::PlacementRequest vm(unsigned vcpus, topology::Bytes memory) {
  topology::PlacementRequest request;
  request.vcpus = vcpus;
  request.memory = memory;
  return request;
}

inline topology::PlacementRequest pinned_to(std::vector<unsigned> cpus, topology::Bytes memory) {
  auto request = vm(static_cast<unsigned>(cpus.size()), memory);
  request.pinning = topology::Pinning::listed;
  request.listed = std::move(cpus);
  return request;
}

// "1,73 | own 1,73 | emulator 0,72 | 0:1G of 2M | 1x1x1x2": the CPU of each vCPU in order (";" between cells), what
// the VM owns, the emulator's CPUs, size per host nodes, sockets x dies x cores x threads.
inline std::string line(const topology::Placement& p) {
  std::string seats;
  for (const auto& seat : p.vcpus) {
    const bool next_cell = seat.vcpu > 0 && seat.guest_node != p.vcpus[seat.vcpu - 1].guest_node;
    seats += seat.vcpu == 0 ? "" : next_cell ? ";" : ",";
    seats += seat.cpu ? fmt::to_string(*seat.cpu) : "-";
  }
  std::string cells;
  for (const auto& cell : p.cells)
    cells += fmt::format("{}{}:{}", cells.empty() ? "" : " ", fmt::join(cell.host_nodes, "+"), to_string(cell.size));
  return fmt::format("{} | own {} | emulator {} | {} of {} | {}x{}x{}x{}", seats, p.exclusive.to_string(),
                     p.emulator.to_string(), cells, to_string(p.page), p.guest.sockets, p.guest.dies, p.guest.cores,
                     p.guest.threads);
}

inline std::string line(const PlaceResult& result) {
  if (result) return line(*result);
  std::string text;
  for (const auto& why : result.error()) text += fmt::format("{}{}: {}", text.empty() ? "" : " / ", why.key, why.what);
  return text;
}

inline std::string placed(const topology::HostTopology& host, const topology::PlacementRequest& request,
                          const topology::Reservations& taken = {}, const topology::HostPolicy& policy = {}) {
  return line(place(request, host, policy, taken));
}

inline bool noted(const PlaceResult& result, std::string_view part) {
  if (!result) return false;
  for (const auto& note : result->notes)
    if (note.find(part) != note.npos) return true;
  return false;
}

inline topology::Reservation as_reservation(std::string owner, const topology::Placement& placement) {
  topology::Reservation reservation{std::move(owner), placement.exclusive, {}};
  for (const auto& need : placement.pages) reservation.pages.push_back({need.node, need.page, need.pages});
  return reservation;
}
