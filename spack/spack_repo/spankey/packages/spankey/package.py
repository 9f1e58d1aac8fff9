# Untried, since no Spack was at hand. On 2026-11-30 its packages, versions and variants were looked up in Spack's own repository
# of July 2026 (API 2.2); nothing was concretized or built.
#   spack repo add spack/spack_repo/spankey
#   spack dev-build spankey@main
from pathlib import Path

from spack_repo.builtin.build_systems.cmake import CMakePackage

from spack.package import *


class Spankey(CMakePackage):
    """Distributed training of neural networks that work only for holders of a key."""

    # The owner has not chosen a licence yet.

    version("main")

    variant("tests", default=False, description="Build the tests and the benchmarks")
    variant("cuda", default=False, description="Build the CUDA module, with the CUDA of LibTorch")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.28:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3.1:")
    depends_on("hdf5@1.10.7: ~mpi")
    depends_on("fmt@9:10")
    depends_on("spdlog@1.10:1.14")
    depends_on("nlohmann-json@3.11:")
    depends_on("cli11@2.1:")
    depends_on("tomlplusplus@3.3:")
    depends_on("random123")
    depends_on("boost +math")
    depends_on("libsodium")
    depends_on("zlib-api")
    depends_on("libjpeg-turbo")
    depends_on("libpng")
    depends_on("py-torch@2.11 ~cuda", when="~cuda")
    depends_on("py-torch@2.11 +cuda", when="+cuda")
    depends_on("nccl", when="+cuda")
    depends_on("googletest +gmock", when="+tests", type="build")
    depends_on("benchmark", when="+tests", type="build")
    depends_on("gnuplot", type="run")

    generator("ninja")

    # Older compilers lack parts of the C++20 library.
    conflicts("%gcc@:10")
    conflicts("%clang@:13")

    def cmake_args(self):
        torch = Path(self.spec["py-torch"].package.cmake_prefix_paths[0]).parent.parent
        return [
            self.define("LibTorch_ROOT", str(torch)),
            self.define_from_variant("SPANKEY_TESTS", "tests"),
            self.define_from_variant("SPANKEY_BENCH", "tests"),
            self.define_from_variant("SPANKEY_CUDA", "cuda"),
        ]
