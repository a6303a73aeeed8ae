package port

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// steering is SteerFrame as a program for the tun driver, which asks it for every
// packet that leaves the instance, and takes the answer modulo the number of
// queues. A load beyond the packet's end ends the program with the answer 0.
//
// With a program, the driver also keeps no table of flows, and computes no hash of
// its own for each frame that is written to it.
func steering() asm.Instructions {
	const a, b = asm.R7, asm.R8
	prog := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // where loads look for the packet
		asm.LoadAbs(etherTypeAt, asm.Half),
		asm.JEq.Imm(asm.R0, etherTypeIPv4, "ipv4"),
		asm.JEq.Imm(asm.R0, etherTypeIPv6, "ipv6"),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),

		asm.LoadAbs(source4At, asm.Word).WithSymbol("ipv4"),
		asm.Mov.Reg(a, asm.R0),
		asm.LoadAbs(destination4At, asm.Word),
		asm.Mov.Reg(b, asm.R0),
		asm.Xor.Imm32(a, 0xffff), // the rest of ::ffff:0:0/96, in which fold finds IPv4 addresses
		asm.Xor.Imm32(b, 0xffff),
		asm.Ja.Label("mix"),

		asm.Mov.Imm(a, 0).WithSymbol("ipv6"),
		asm.Mov.Imm(b, 0),
	}
	for word := int32(0); word < 16; word += 4 {
		prog = append(prog,
			asm.LoadAbs(source6At+word, asm.Word),
			asm.Xor.Reg(a, asm.R0),
			asm.LoadAbs(destination6At+word, asm.Word),
			asm.Xor.Reg(b, asm.R0),
		)
	}
	factor := uint64(steerFactor)
	return append(prog,
		asm.Xor.Imm32(a, steerMask).WithSymbol("mix"),
		asm.Xor.Imm32(b, steerMask),
		asm.Mul.Reg(a, b),
		asm.LoadImm(asm.R0, int64(factor), asm.DWord),
		asm.Mul.Reg(a, asm.R0),
		asm.RSh.Imm(a, steerShift),
		asm.Mov.Reg(asm.R0, a),
		asm.Return(),
	)
}

// loadSteering gives the program to the kernel.
func loadSteering() (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "steer", Type: ebpf.SocketFilter, Instructions: steering()})
	if err != nil {
		return nil, fmt.Errorf("steering program: several queues need CAP_BPF and a kernel with CONFIG_BPF_SYSCALL: %w", err)
	}
	return p, nil
}

// CheckSteering reports why this process cannot open a TAP of several queues, or
// nil if, for all it knows, it can.
func CheckSteering() error {
	p, err := loadSteering()
	if err != nil {
		return err
	}
	return p.Close()
}

// steer makes the interface of a queue choose its queues by Steer. The driver
// keeps the program as long as the interface lives.
func steer(fd int) error {
	p, err := loadSteering()
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSTEERINGEBPF, p.FD()); err != nil {
		return errors.Join(fmt.Errorf("attach steering program: %w", err), p.Close())
	}
	return p.Close()
}
