// A domain's serial ports and consoles. The rule: the first port is [console], each further one a [[serial]].
#include "launcher/devices/serial.hpp"

#include <fmt/format.h>

#include <array>

#include "launcher/import/walk.hpp"

namespace launcher::inline import {

namespace {

constexpr std::array<std::uint64_t, most_serials + 1> ports_of_com = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

// Where a port's words go, of the VM's console or of a [[serial]].
void serial_keys(Walk& walk, const XmlElement& element, const std::string& table, unsigned port) {
  const std::string reach = port == 1 ? "`vmrun console NAME`" : fmt::format("`vmrun console NAME --port {}`", port);
  const Leaf type = walk.at(element, "@type"), model = walk.at(element, "target/@type");
  const Leaf file = type.is("file") ? walk.at(element, "source/@path") : walk.at(element, "log/@file");
  if (is_file_path(file.value())) walk.spec.text(table, "log", file.value(), "appended to, at most log_size");
  const bool same = type.is("pty") || type.is("file") || type.is("stdio");
  type.tell(same ? Verb::kept : Verb::changed,
            fmt::format("{}, reached by {}", port == 1 ? "[console]" : table, reach));
  file.tell(Verb::kept, table + ".log");
  const Leaf append = walk.at(element, type.is("file") ? "source/@append" : "log/@append");
  if (file.there())
    append.tell_default(append.on() ? Verb::kept : Verb::changed,
                        append.on() ? "appended to" : "appended to: what was said before stays");
  const bool isa = !model.there() || model.is("isa-serial") || model.is("serial");
  if (const XmlElement* place = element.find("target"))
    walk.tell_all(*place, isa ? Verb::kept : Verb::changed,
                  fmt::format("{}COM{}, ttyS{}", isa ? "" : "an ISA port in its place: ", port, port - 1));
  const Leaf port_of_isa = walk.at(element, "address/@iobase");
  if (const XmlElement* address = element.find("address"))
    walk.tell_all(*address,
                  !walk.at(element, "address/@type").is("isa") ||
                          (port_of_isa.there() && port_of_isa.number() != ports_of_com.at(port - 1))
                      ? Verb::changed
                      : Verb::kept,
                  fmt::format("COM{}'s own", port));
  for (const XmlElement* source : element.all("source"))
    walk.tell_all(*source, type.is("pty") ? Verb::changed : Verb::dropped,
                  (type.is("pty") ? "of that run; " : "nothing listens there: ") + reach + " reaches the port");
  if (const XmlElement* protocol = element.find("protocol"))
    walk.tell_all(*protocol, Verb::dropped, "nothing listens there: " + reach + " reaches the port");
  walk.at(element, "@tty").tell(Verb::changed, "of that run; " + reach + " reaches the port");
}

}  // namespace

// serial and console; libvirt writes the first serial port as a console, too.
void import_serial(Walk& walk, const XmlElement& element) {
  const Leaf target = walk.at(element, "target/@type"), port = walk.at(element, "target/@port");
  const bool console = element.name == "console", virtio = target.is("virtio") || target.is("sclp");
  const auto serials = walk.root.find("devices")->all("serial");
  const bool first =
      console ? !virtio && (!port.there() || port.is("0")) : !serials.empty() && serials.front() == &element;
  if (console && (!first || !serials.empty()))
    return walk.tell_all(element, first ? Verb::kept : Verb::dropped,
                         first ? "the same port as the first <serial>: [console]"
                               : "vmrun's console is COM1 (ttyS0): getty on hvc0 has nobody to talk to");
  if (!first && walk.spec.count("serial") == most_serials)
    return walk.tell_all(element, Verb::dropped, "a PC has four serial ports, and all are taken");
  if (first) walk.spec.text("console", "mode", "stdio");
  const std::string table = first ? "console" : walk.spec.add("serial");
  serial_keys(walk, element, table, first ? 1 : static_cast<unsigned>(walk.spec.count("serial")) + 1);
}

}  // namespace launcher::import
