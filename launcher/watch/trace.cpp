#include "launcher/watch/trace.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "launcher/watch/parse.hpp"
#include "launcher/watch/perf.hpp"

namespace launcher::inline watch {

namespace {

constexpr std::size_t ring_pages = 64;  // of data, a power of two

// "field:pid_t next_pid;	offset:56;	size:4;	signed:1;" -> 56
std::optional<std::size_t> offset_of(const std::string& format, const std::string& field) {
  const std::size_t at = format.find(" " + field);
  const std::size_t offset = at == std::string::npos ? at : format.find("offset:", at);
  if (offset == std::string::npos) return std::nullopt;
  const auto number = numbers_in(std::string_view(format).substr(offset + 7));
  if (number.empty()) return std::nullopt;
  return number[0];
}

template <class T>
T value_at(const char* data) {
  T value{};
  std::memcpy(&value, data, sizeof value);
  return value;
}

}  // namespace

struct SwitchTrace::Ring {
  unsigned cpu = 0;
  Fd fd;
  char* memory = nullptr;
  std::size_t size = 0;
  int running = 0;  // the task's number; 0: idle, or not known yet
  std::string name;
  std::uint64_t since = 0;
  bool switched = false;  // at least once
  ~Ring() {
    if (memory != nullptr) munmap(memory, size);
  }
};

SwitchTrace::SwitchTrace(const topology::CpuSet& cpus, const topology::Sysfs& root) {
  const auto point = tracepoint(root, "sched/sched_switch");
  if (!point) {
    error_ = "the tracepoint sched_switch cannot be read (tracefs is not mounted, or this is not root)";
    return;
  }
  const auto comm = offset_of(point->format, "next_comm["), pid = offset_of(point->format, "next_pid;");
  if (!comm || !pid) {
    error_ = "the tracepoint sched_switch has another form here";
    return;
  }
  layout_ = {*comm, *pid};
  for (const unsigned cpu : cpus.to_vector())
    if (error_.empty()) open_ring(cpu, point->id);
  if (!error_.empty()) rings_.clear();
}

SwitchTrace::~SwitchTrace() = default;

void SwitchTrace::open_ring(unsigned cpu, std::uint64_t id) {
  perf_event_attr event = event_of(PERF_TYPE_TRACEPOINT, id);
  event.sample_period = 1;
  event.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW;
  event.use_clockid = 1;
  event.clockid = CLOCK_MONOTONIC;
  event.watermark = 1;
  event.wakeup_watermark = ring_pages * 4096 / 2;
  auto ring = std::make_unique<Ring>();
  ring->cpu = cpu;
  ring->fd = open_event(event, cpu);
  ring->size = (1 + ring_pages) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory =
      !ring->fd ? MAP_FAILED : mmap(nullptr, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd.get(), 0);
  if (memory == MAP_FAILED) {
    error_ = fmt::format("switches on CPU {} cannot be traced: {}", cpu, std::strerror(errno));
    return;
  }
  ring->memory = static_cast<char*>(memory);
  ring->since = now_ns();
  rings_.push_back(std::move(ring));
}

void SwitchTrace::began_with(const std::map<pid_t, ForeignTask>& tasks) {
  read();
  for (const auto& ring : rings_)
    for (const auto& [tid, task] : tasks)
      if (ring->running == 0 && !ring->switched && task.running && task.cpu == ring->cpu) {
        ring->running = tid;
        ring->name = task.name;
      }
}

void SwitchTrace::charge(Ring& ring, std::uint64_t until) {
  if (ring.running != 0 && until > ring.since) {
    TaskUse& use = uses_[{ring.running, ring.cpu}];
    use.tid = ring.running;
    use.name = ring.name;
    use.cpus.add(ring.cpu);
    use.ran_ns += until - ring.since;
  }
  ring.since = std::max(ring.since, until);
}

// PERF_SAMPLE_RAW: its size, then the tracepoint's record.
void SwitchTrace::switched(Ring& ring, std::uint64_t at, const char* record, std::size_t size) {
  if (size < layout_.pid + sizeof(int) || size < layout_.comm + 16) return;
  charge(ring, at);
  ring.switched = true;
  ring.running = value_at<int>(record + layout_.pid);
  ring.name.assign(record + layout_.comm, strnlen(record + layout_.comm, 16));
}

void SwitchTrace::read() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const auto& ring : rings_) {
    auto* head = reinterpret_cast<perf_event_mmap_page*>(ring->memory);
    const std::uint64_t end = std::atomic_ref(head->data_head).load(std::memory_order_acquire);
    std::uint64_t at = head->data_tail;
    const char* data = ring->memory + page;
    const std::size_t mask = ring_pages * page - 1;
    std::string record;
    while (at + sizeof(perf_event_header) <= end) {
      perf_event_header header{};
      for (std::size_t i = 0; i < sizeof header; ++i) reinterpret_cast<char*>(&header)[i] = data[(at + i) & mask];
      if (header.size < sizeof header || at + header.size > end) break;
      record.resize(header.size);
      for (std::size_t i = 0; i < header.size; ++i) record[i] = data[(at + i) & mask];
      const char* body = record.data() + sizeof header;
      const std::size_t size = header.size - sizeof header;
      if (header.type == PERF_RECORD_LOST && size >= 16) lost_ += value_at<std::uint64_t>(body + 8);
      if (header.type == PERF_RECORD_SAMPLE && size > 12) {
        const auto raw = value_at<std::uint32_t>(body + 8);
        if (raw <= size - 12) switched(*ring, value_at<std::uint64_t>(body), body + 12, raw);
      }
      at += header.size;
    }
    std::atomic_ref(head->data_tail).store(at, std::memory_order_release);
  }
}

std::vector<TaskUse> SwitchTrace::take() {
  read();
  const std::uint64_t now = now_ns();
  for (const auto& ring : rings_) charge(*ring, now);
  std::vector<TaskUse> uses;
  for (auto& [key, use] : uses_) uses.push_back(std::move(use));
  uses_.clear();
  return uses;
}

}  // namespace launcher::watch
