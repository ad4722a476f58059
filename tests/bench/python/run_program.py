"""run_program.py PROGRAM SIZE - runs a program in this module, and writes the process's peak to descriptor 3."""
import os
import sys

sys.argv = sys.argv[1:]
with open(sys.argv[0], encoding="utf-8") as file:
    exec(compile(file.read(), sys.argv[0], "exec"), globals())
sys.stdout.flush()
with open("/proc/self/status", encoding="ascii") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
os.write(3, b'{"peak_kib": %d}' % int(peak.split()[1]))
