"""Define the grammar of short stories: the ten plots, each in five or six sentences.

In these stories Lily always has a red kite, a grandmother and a friend called Tom. So the hero's name fixes
most repeated words. A small model learns these facts before it learns to copy earlier words. See template.py.
"""

from tinyllm.world.template import read_grammar

SHORT_RULES = read_grammar("""
story: <opening> <plot>
opening: [Once there was a {trait = traits} {hero = heroes : intro}[.|, who lived {hero.home}.]
    |Do you know {hero = heroes}, the {trait = traits} {hero.girl} {hero.home}?
    |This happened to {hero = heroes}, a {trait = traits} {hero.girl} of our village.
    |Listen to a story of {hero = heroes}, a {trait = traits} {hero.girl} {hero.home}.]
plot.lost: {hero.His} {hero.toy} went everywhere with {hero.him}, but one <day>, {place = places : at}, it was
    gone. "[I know where it is|Come with me|Do not be sad]," said {helper = place.animals : a}, and there it
    lay, {nook = place.spots}! "[Thank you|You are a true friend|Oh, you are so kind], {helper}!" <says_hero>.
    [Lost things are easier to find with a friend.|It is never wrong to ask for help.|From that day on,
    {hero.he} took good care of the {hero.toy}.]
plot.lent: "May I borrow your {hero.toy}?" asked {friend = hero.friends}[.| one <day>.] {hero} [said
    yes.|nodded.|was silent for a while, and then {hero.he} smiled.] The next [morning|day|Sunday] the
    {hero.toy} was back, as good as new, and beside it lay [a biscuit|a red apple|three cherries|a bunch of
    daisies]. [A thing that is shared makes two friends happy.|Trust is a gift, and {friend} had given it
    back.|"[That was the best day of my life|I took good care of it]," <says_friend>.]
plot.found: {place = places : At}, {hero.he} found a [silver coin|golden ring|glass pearl|tiny bell]. "[Now it
    is mine|Nobody will know|What luck I have]," thought {hero}. But on the way home {hero.he} met
    {friend = hero.friends}, who was [looking under every stone.|close to tears.|running up and down.] "[Here
    it is|Do not cry|This must be yours]," <says_hero>, and {friend} [laughed and danced.|jumped for
    joy.|hugged {hero.him}.] [It is good to be honest.|An honest {hero.girl} sleeps well at night.|A friend is
    worth more than gold.]
plot.shared: On a [warm|cold|golden|rainy] [Monday|Friday|Sunday], {hero.his} {hero.elder} gave {hero.him}
    {food = foods : a}. {hero} sat down [under a tree|in the garden|by the window|beside the well] to eat, and
    {friend = hero.friends} came [by.|along.] "[Is there enough for two|May I have some|What have you got]?"
    {friend.he} asked. "[Sit down beside me|Of course|Half of it is yours]," <says_hero>, and they ate until
    [nothing was left.|it was dark.|the stars came out.] [Food tastes better when it is shared.|It is lonely
    to eat alone.|Kindness comes back like a ball.]
plot.promised: "Will you {promise = promises} [tonight|before dark|for me]?" asked {hero.his} {hero.elder}.
    "[I promise|Of course]," <says_hero>, and went out to play with {friend = hero.friends}<promised_end>
plot.freed: One <day>, {hero.he} heard a [small|thin|sad|strange] voice {place = places : at}: it was
    {helper = place.animals : a}, {trouble = traps}. "[Do not be afraid|I will help you|Wait]," <says_hero>,
    and {hero.he} {trouble.fix}. [Weeks|Months|Years] later {hero} was lost in the [fog|snow|dark|rain], and
    who [led|brought|guided] {hero.him} home? It was {helper}! [No friend is too small.|Kindness always finds
    its way back.|"That is what friends do," said {helper}.]
plot.learned: {hero.He} could [run like the wind|sing like a bird|climb tall trees|tell funny stories], but
    {hero.he} could not {skill = skills}. One <day>, {hero.he} tried it {skill.where} and {skill.fail}. "[Try
    again|Try a little every day|Do not give up|Just one more time]," <says_elder>. And [one day|at last|when
    nobody was looking], {hero} {skill.win}! [Nobody learns to fly in a day.|Those who fall and get up again
    learn to fly.|All things are hard at first.]
plot.gift: It was almost the birthday of {friend = hero.friends}, who loved everything {friend.colour}. Every
    [morning|evening|afternoon|night] {hero} worked [behind a closed door|by the light of a candle|in the
    barn|under the roof], and told [nobody.|no one why.] At last {friend} opened the [box|basket|bag], and
    there was a {friend.colour} {thing = things}! [How they laughed!|How beautiful it was!|They hugged and
    laughed.] The best presents [cost nothing but time.|are made by hand.|begin with a secret.]
plot.noise: [Late one night|At midnight|Deep in the night], something went {noise = noises} [behind the
    stove.|under the stairs.|in the kitchen.|under the roof.] "A {monster = monsters}!" [whispered|cried|said]
    {hero}. [At last|After a while|In the end] {hero.he} [lit a candle|took a lamp|took a deep breath] and
    went to look, and there sat {visitor = visitors : a}, [cold and wet.|eating old bread.|hidden in a
    shoe.|very small and very afraid.] "So you are the {monster}!" {hero.he} said, and [they shared a cup of
    warm milk.|made a bed in an old hat.|they talked until the sun came up.] [Most monsters are small|Fear
    grows small] when you [light a candle.|look at it.]
plot.planted: When the [snow|winter|ice] was gone, {hero.his} {hero.elder} gave {hero.him}
    {plant = plants : seed}. {hero} planted it [behind the house|under the window|beside the well|near the
    gate], [sang to it|told it stories|told it riddles] and waited. "[Nothing will ever grow there|You have
    planted a stone|You will wait for a hundred years]," laughed {friend = hero.friends}. But one
    [sunny|misty|quiet|rainy] morning something [small and green|as thin as a thread] came out of the ground,
    and by the end of summer {hero} had {plant.grown}! [Good things take time.|You cannot make a {plant} grow
    by shouting at it.|And {friend} got half of {plant.share}.]

# Small pieces that many plots use.
day: [sunny|windy|misty|warm|cold|quiet] [morning|afternoon|day]
says_hero: [2*said {hero}|{hero} said]
says_friend: [2*said {friend}|{friend} said]
says_elder: [2*said {hero.his} {hero.elder}|{hero.his} {hero.elder} said]
promised_end: [. "[Stay a little longer|Just one more game|Do not go]!" cried {friend.he}, but {hero} [ran
    like the wind.|was already running.|did not wait.] {hero.He} {promise.done} [in time.|just before dark.|as
    the first star came out.] "[Well done|You are as good as your word|I knew that I could trust you],"
    <says_elder>.
    |[ and forgot the time.| until it was night.] {promise.sorry}. "[I am so sorry|Please forgive me],"
     <says_hero>, and the next day {hero.he} {promise.done} [before breakfast.|at once.|without a word.] [A
     game can wait, but a promise cannot.|A promise is easy to give and hard to keep.]]
""")
