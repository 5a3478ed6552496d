// Interrupts of passed functions, over a tree like /proc.
#include "launcher/life/interrupts.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/topology/scratch.hpp"

using namespace launcher;

TEST_CASE("interrupts of passed functions go to the VM's CPUs, when the guest has enabled them, and after a reset") {
  using namespace std::chrono_literals;
  const Scratch scratch;
  const topology::Sysfs sysfs(scratch.root());
  const fakes::TempDir dir;
  fakes::FakeHost host(dir.path());
  host.add_value("/proc/irq/146/smp_affinity_list", "0-7");  // 45 is refused
  const topology::CpuSet cpus = topology::CpuSet::range(4, 7);
  const std::vector<PassedFunction> functions = {{"0000:81:00.0", cpus}, {"0000:82:00.0", {}}};
  InterruptWatch watch(functions, host, sysfs);
  CHECK(!watch.due());
  const auto start = InterruptWatch::Clock::now();
  watch.begin(start);
  CHECK(watch.due() == start + 1s);
  watch.look(start + 1s);  // nothing there yet
  CHECK(host.log().empty());
  const auto interrupt = [&](const std::string& address, const std::string& file, unsigned number,
                             const std::string& actions) {
    scratch.write("/sys/bus/pci/devices/" + address + "/" + file,
                  file == "irq" ? std::to_string(number) + "\n" : "msix\n");
    scratch.write(fmt::format("/sys/kernel/irq/{}/actions", number), actions + "\n");
  };
  interrupt("0000:81:00.0", "msi_irqs/45", 45, "vfio-msix[0](0000:81:00.0)");
  interrupt("0000:81:00.0", "msi_irqs/146", 146, "vfio-msix[1](0000:81:00.0)");
  interrupt("0000:81:00.0", "msi_irqs/148", 148, "");  // not enabled
  interrupt("0000:81:00.0", "irq", 45, "vfio-msix[0](0000:81:00.0)");
  interrupt("0000:82:00.0", "irq", 18, "ehci_hcd:usb1,vfio-intx(0000:82:00.0)");
  scratch.write("/proc/irq/45/smp_affinity_list", "0-7\n");
  scratch.write("/proc/irq/45/effective_affinity_list", "3\n");
  watch.look(start + 1400ms);  // not due
  CHECK(host.log().empty());
  watch.look(start + 5s);
  CHECK(host.log() == std::vector<std::string>{"write /proc/irq/45/smp_affinity_list 4-7",
                                               "write /proc/irq/146/smp_affinity_list 4-7"});
  const std::vector<Interrupt> shown = interrupts_of(functions, sysfs);
  REQUIRE(shown.size() == 3);
  CHECK(shown[0] == Interrupt{45, "vfio-msix[0](0000:81:00.0)", cpus, topology::CpuSet{3}});
  CHECK(shown[2] == Interrupt{18, "vfio-intx(0000:82:00.0)", {}, {}});
  // a guest that takes a minute has its interrupts right half a minute later; a few looks, no polling
  int looks = 2;
  for (auto last = start + 1500ms; watch.due(); last = *watch.due(), watch.look(last), ++looks)
    CHECK(*watch.due() <= last + (last - start) / 2);
  CHECK(looks == 16);
  watch.begin(start + 700s);
  CHECK(watch.due() == start + 701s);
  InterruptWatch nothing({{"0000:82:00.0", {}}}, host, sysfs);
  nothing.begin(start);
  CHECK(!nothing.due());
}
