"""Names for runs: an adjective and an animal, friendlier to say than an id."""

import os
from typing import Final

_ADJECTIVES: Final = """
able active agile airy alert amber ample ancient apt ardent artful astute autumn azure balmy bold bouncy brave
breezy bright brisk bronze bubbly calm candid careful caring charming cheerful chirpy civic clean clear clever
cobalt copper coral cosmic cozy crafty crimson crisp curious dainty dapper daring dashing dazzling deft devoted
dewy diligent dreamy eager early earnest easy elegant emerald epic exact faithful famous fancy fearless festive
fine fleet fluent fluffy fond frank free fresh friendly frosty gallant gentle gifted giddy glad gleaming golden
graceful gracious grand grateful handy happy hardy hazel hearty helpful honest hopeful humble icy ideal indigo
ivory jade jaunty jolly jovial joyful jumpy keen kind lasting lavender lawful leafy lean level light lilac lively
loyal lucid lucky lunar magic maroon mellow merry mighty mild mindful minty misty modest mossy natural neat nifty
nimble noble observant olive open orderly organic patient peaceful pearly peppy perky pink plucky polar polite
prime proud prudent punctual quaint quick quiet radiant rapid ready regal robust rosy ruby rustic sandy sapphire
savvy scarlet serene sharp shiny silent silky silver sincere sleek smart smooth snappy snowy snug sober solar
solid sonic spicy spry stable stately steady sterling stoic sturdy sunny super supple sure swift tactful teal
tender thrifty tidy timely topaz tranquil trusty upbeat useful valiant velvet vibrant violet vivid warm wise witty
zesty
"""
_ANIMALS: Final = """
aardvark albatross alpaca anchovy anemone anole anteater antelope armadillo avocet axolotl baboon badger barbel
barnacle barracuda bat beagle bear beaver bee beetle bison blackbird boar bobcat bongo bonobo bream buffalo
bullfinch bumblebee bunting bustard butterfly buzzard caiman camel canary capybara caracal caribou carp cassowary
cat caterpillar catfish chameleon chamois cheetah chickadee chinchilla chipmunk cicada civet clam cobra cockatoo
cod collie condor corgi cormorant cougar cow coyote crab crane cricket crow cuckoo curlew deer dingo dolphin
donkey dormouse dove dragonfly duck dugong eagle echidna eel egret eider eland elephant elk emu ermine falcon
ferret finch firefly flamingo flounder fox frog gannet gar gazelle gecko gerbil gibbon giraffe gnu goat goldfinch
goose gopher gorilla goshawk grebe greyhound grouper grouse guanaco gull guppy haddock halibut hamster hare
harrier hawk hedgehog heron herring hippo hornbill horse hoopoe hound hummingbird husky hyena ibex ibis iguana
impala jackal jackdaw jaguar jay jellyfish kangaroo kestrel kingfisher kite kiwi koala kudu ladybug lark lemming
lemur leopard limpet linnet lion lizard llama lobster loon lynx macaw mackerel magpie mallard manatee mandrill
mantis marlin marmot marten meerkat mink minnow mole mongoose moose moth mouse mule mussel narwhal newt
nightingale ocelot octopus okapi opossum orca oriole oryx osprey ostrich otter owl ox oyster panda panther parrot
partridge peacock pelican penguin perch pheasant pigeon pike platypus plover pony porcupine porpoise puffin puma
quail rabbit raccoon ram raven reindeer robin rook salamander salmon sardine seal seahorse shark sheep shrew
shrimp skylark sloth snail sparrow squid squirrel starling stoat stork sturgeon swallow swan swift tapir tern
terrier thrush tiger toad toucan trout tuna turtle viper vole wallaby walrus warbler wasp weasel whale wolf wombat
woodpecker wren yak zebra
"""
ADJECTIVES: Final = tuple(_ADJECTIVES.split())
ANIMALS: Final = tuple(_ANIMALS.split())


def generate_name() -> str:
    """Return a name such as `jumpy-puffin`, one of some 60,000. Names may come twice; ids do not."""
    number = int.from_bytes(os.urandom(4))  # importing random costs 5 ms
    number, adjective = divmod(number, len(ADJECTIVES))
    return f"{ADJECTIVES[adjective]}-{ANIMALS[number % len(ANIMALS)]}"
